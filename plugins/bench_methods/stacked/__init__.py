"""Methods sdae and stacked_autoencoder: a stack of autoencoders, trained one layer after the other.

objective.py    the two methods: with corrupted inputs, and without
layers.py       what both do with a layer: its clean inputs, its decoder, its loss, its stage of the training
corruption.py   three ways to corrupt the inputs of a layer
"""
