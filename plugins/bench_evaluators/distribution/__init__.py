"""Task distribution: distance of an embedding to its prior.

evaluator.py  the task: the prior and its normal scores, all distances, the gap of a noisy channel
normality.py  tests and distances of samples to the normal distribution N(0, I)
"""
