"""Task mi: estimates of the mutual information between input or label and embedding.

evaluator.py   the task: information on labels, on another view and on its pixels
critics.py     lower bounds by a classifier and by trained critics, measured on other items
neighbours.py  estimates from distances to nearest neighbours; nothing is trained
"""
