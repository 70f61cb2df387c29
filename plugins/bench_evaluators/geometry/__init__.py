"""Task geometry: alignment, uniformity and effective rank of features.

evaluator.py  Geometry: the shape of the cloud of features, and whether it has collapsed
measures.py   The shape of a cloud of features: how it is spread over directions, over the sphere, and over classe
"""
