"""Task disentanglement: agreement between single latents and known factors.

evaluator.py     the task: which items and codes are read, which scores are measured
fixed_factor.py  FactorVAE and beta-VAE scores: tell the factor that a few items share
scores.py        MIG, MED, SAP and DCI: one score for each code and factor, and its summary
"""
