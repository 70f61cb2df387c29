"""Datasets: named splits with a digest of their content."""
