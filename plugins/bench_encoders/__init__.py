"""Encoders: the networks that methods train and tasks read features from.

alexnet.py   AlexNet with batch norm
convnet.py   a small network for a CPU
dim_conv.py  the networks of Deep InfoMax
mlp.py       a fully connected network, for vectors and images
resnet.py    ResNet-18 and ResNet-50
vgg.py       VGG-16 with batch norm
"""
