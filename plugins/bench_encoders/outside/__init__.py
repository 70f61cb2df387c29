"""Encoders that come from elsewhere, with the weights that they were trained to have.

reading.py             makes the images of a dataset into those that a model wants
weights.py             reads files of weights, and the digests of weights
timm_models.py         models of timm
torchvision_models.py  models of torchvision
huggingface.py         vision models of the Hugging Face hub, or of a folder
exported.py            graphs of `torch.export` and ONNX
python_file.py         a module that a Python file builds
"""
