"""Records and artifacts on disk: one immutable JSON file for each finished cell.

store.py          the folder: records, attempts, chains
record_schema.py  what a record must look like
per_item.py       results by test item, packed into a record
image_grid.py     images of a record as one PNG
tensors.py        weights and embeddings as safetensors files
merge.py          one store's records copied into another
"""

from bench_core.store.store import Store as Store

__all__ = [
    "Store",
]
