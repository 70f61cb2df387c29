"""Task mi: estimates of the mutual information between input or label and embedding.

evaluator.py  the task: information on labels, on another view and on its pixels
labels.py     a lower bound of the information on labels, by a classifier
"""
