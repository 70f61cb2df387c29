"""Task mi: estimates of the mutual information between input or label and embedding.

critics.py     Lower bounds of mutual information that hold because they are measured on items nobody was trained
evaluator.py   Mutual information: how many nats an embedding keeps of the label, and of another view of the same
neighbours.py  Mutual information from distances to nearest neighbours, in nats: no critic, nothing is trained
"""
