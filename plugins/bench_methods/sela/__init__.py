"""Method sela: self-labelling.

objective.py    SeLa: train on labels, relabel the whole data set so that all clusters are equally large, and so o
relabelling.py  Labels of the whole train split that a method makes for itself: when they are renewed, from what,
"""
