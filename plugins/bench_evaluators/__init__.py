"""Evaluators: frozen embeddings -> scores."""
