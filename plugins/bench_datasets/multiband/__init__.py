"""Dataset `multiband`: your own images of any number of bands, such as those of satellites.

dataset.py   the dataset and its parameters
layouts.py   finds the images in three layouts of folders, and their labels
splits.py    which images are train and which are test
raster.py    reads the bands of one image: GeoTIFF or numpy, resized and scaled
"""
