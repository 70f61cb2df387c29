"""Methods cibhash and distillhash: a hash head is trained on the features of a trained network, which stays as it is.

cibhash.py          contrast of the codes of two views
distillhash.py      codes that follow the pairs whose similarity is beyond doubt; the variant ssdh
pair_labels.py      which pairs of training items are similar, different, or left out
frozen_encoder.py   what both share: the teacher's encoder as the row's own, the head on it, a number for the log
"""
