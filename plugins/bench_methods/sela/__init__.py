"""Method sela: self-labelling.

objective.py    the method: parameters, heads, loss and the update of the labels
relabelling.py  steps of an update: schedule, features and logits of the train split, numbers for the log
"""
