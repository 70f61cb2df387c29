"""Dataset `huggingface_dataset`: images of the Hugging Face hub, and what its library `datasets` reads.

dataset.py   the dataset and its parameters
tables.py    opens what is on disk, and reads images as the bytes of their files
labels.py    numbers the classes or labels of a column
"""
