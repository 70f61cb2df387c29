"""Task clustering: how well clusters of the features agree with the classes.

evaluator.py   Clustering: do groups that are found without labels agree with the classes?
partitions.py  Partitions of items: spherical k-means, and how well clusters agree with classes
"""
