"""Task disentanglement: whether latents follow known factors one by one.

evaluator.py     Disentanglement: whether each code (a coordinate of the embedding) is about one known factor, and
fixed_factor.py  Which factor is held fixed in a few items, told from their codes: the FactorVAE and the beta-VAE
scores.py        How far each code (a coordinate of an embedding) is about one known factor, and each factor in on
"""
