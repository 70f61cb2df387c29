"""Trained encoders leave: for Python, and as folders in the formats of other libraries.

load.py        the frozen encoder of a record, of a chain or of a folder
convert.py     writes a folder, loads it back and compares the features
formats.py     safetensors, torch.export, ONNX and Hugging Face
timm_format.py the architectures that timm has under the same layers
hub_model.py   a class that Hugging Face's `from_pretrained` reads
card.py        the model card
images.py      features of image files
"""
