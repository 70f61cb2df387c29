"""Methods cmc and coconet: the channels of an image are views of it, and each view has an encoder of its own.

cmc.py        contrastive multiview coding, and its control: one view's pixels predicted from another's features
coconet.py    the same contrast, a factor that joins all views, and views whose embeddings follow one distribution
views.py      colour spaces, and which of their channels make a view
encoder.py    the encoder of an image: one encoder for each view, side by side
contrast.py   parameters, embeddings and the contrast of two views, which both methods share
transport.py  sliced distance between the distributions of two batches
"""
