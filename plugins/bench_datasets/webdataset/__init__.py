"""Dataset `webdataset`: images in tar files, read one after another.

dataset.py  the dataset and its parameters
index.py    which shards there are and what they hold, written once into index.json
shards.py   reads the samples of shards, and the passes over them
"""
