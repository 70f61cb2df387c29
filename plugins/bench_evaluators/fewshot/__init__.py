"""Task fewshot: classification from a few labelled items.

evaluator.py  the task: probe and fine-tuning on 1 % and 10 % of the labels, and the scores of episodes
episodes.py   random episodes of a few classes, and the accuracy of nearest centroids in them
"""
