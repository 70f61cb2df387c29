"""Task outliers: detection of items from outside the training classes.

evaluator.py  the task: sets of outliers, held-out classes, all scores
detectors.py  distances and densities that are fitted to training points and score any point
own_scores.py scores that a method has of its own
rates.py      AUROC, areas under precision-recall curves, and false-positive rates of such scores
"""
