"""Task fewshot: classification from a few labelled items, over many episodes.

episodes.py   Few-shot episodes: a few classes, a few labelled items of each, and others to be classed by the near
evaluator.py  Few labels: linear probe and fine-tuning on 1 % and 10 % of the labels, and episodes with one or fiv
"""
