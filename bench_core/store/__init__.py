"""Records and artifacts on disk: one immutable JSON file for each finished cell.

store.py          The folder: records, attempts, chains
record.py         A record as the code reads it: frozen objects
index.py          An index of the records of a large store, which may be deleted
index_rows.py     A record as a row of it
record_schema.py  Checks of the JSON of a record and of an attempt
per_item.py       Per-item results of a score, packed into a record
log_numbers.py    The numbers in a line of a training's log
image_grid.py     Images of a record as one PNG
chain_files.py    The JSON files of a chain's folder
training_log.py   The log of a training
tensors.py        Weights and embeddings as safetensors files
weight_files.py   Files of weights from elsewhere: safetensors, .pt, .pth, .ckpt
slurm_jobs.py     Elements of the store's runs in Slurm's queue
merge.py          Copies one store's records into another
"""

from bench_core.store.store import Store as Store

__all__ = [
    "Store",
]
