"""Task search_cost: recall of approximate search against its cost.

evaluator.py  the task: queries and database, settings of the indexes, all scores
indexes.py    builds an index of faiss, searches it, and measures recall, distances, bytes and time
"""
