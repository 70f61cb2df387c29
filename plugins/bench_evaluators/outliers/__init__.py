"""Task outliers: detection of items from outside the training classes.

detectors.py  How far a point is from a set of training points: distances and densities, fitted once, asked of any
evaluator.py  Outliers: whether images of another kind lie where no training image lies
rates.py      How well one number tells items that are out of a distribution from those in it
"""
