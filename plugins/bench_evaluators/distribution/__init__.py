"""Task distribution: how close an embedding comes to its prior.

evaluator.py  Distribution matching: how far an embedding is from a prior, coordinate by coordinate and in any dir
normality.py  How far an embedding is from N(0, I): tests at a fixed size, and distances that fix mean, scale and
"""
