"""Datasets of pairs: two modalities of each item.

datasets.py        the three datasets by name
left_out.py        leaves the items of some classes out of train
mnist_halves.py    upper and lower halves of MNIST's digits
digit_pairs.py     small digits, each with a noisy copy or with its edges
paired_folders.py  two folders of images that pair by name
"""
