"""Datasets: named splits of inputs and labels, with a digest of their content.

cifar10_jpeg.py      CIFAR-10 recompressed as JPEG
digits.py            handwritten digits that come with scikit-learn
factor_files.py      dSprites and 3D Shapes
flickr25k.py         MIRFLICKR-25000
image_folder.py      any folder of images
mnist.py             MNIST and Fashion-MNIST
mnist_variations.py  MNIST turned by random angles, or on random backgrounds
sprites.py           images drawn by code from known factors
torchvision_sets.py  CIFAR-10, CIFAR-100, SVHN and STL-10
webdataset           images in tar files, read in sequence
"""
