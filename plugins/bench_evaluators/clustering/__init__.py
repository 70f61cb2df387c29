"""Task clustering: agreement between clusters of the features and the classes.

evaluator.py   the task: k-means on train, scores on test, chance levels
partitions.py  measures of agreement between two partitions
"""
