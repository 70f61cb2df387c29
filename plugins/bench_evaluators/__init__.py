"""Tasks: each reads the embeddings of a trained, frozen method and returns scores."""
