"""Task geometry: alignment, uniformity and effective rank of features.

evaluator.py  the task: items, views and pixels that are compared, all scores, notes on collapse
measures.py   the measures of a matrix of features
"""
