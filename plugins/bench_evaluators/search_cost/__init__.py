"""Task search_cost: recall of approximate search against its cost.

evaluator.py  Search cost: what approximate indexes find of the true neighbours, and what a query costs
indexes.py    Approximate nearest neighbours by faiss: what they find, and what a query costs
"""
