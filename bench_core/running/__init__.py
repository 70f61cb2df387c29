"""The run of a plan: chain by chain, cell by cell, with progress and failures.

chain.py          One chain: load its splits, pretrain its method, embed its data
evaluate.py       One cell: run a task on a frozen method and write its record
failures.py       Cells that did not finish: reason, last lines and seconds, one file for each in the store
kept_epochs.py    Weights along the way of a training, and what is said where they were not kept
loggers.py        Loggers of trainings beside the store's own log: CSV, TensorBoard, Weights & Biases
pending.py        The queue of a plan: what is left to run, and trainings that failed in this run
probe.py          How good features are while they are trained, on two parts of the train split
progress.py       Progress on stderr: a bar on a terminal, log lines elsewhere
provenance.py     Versions, commit, device and command, which are stored in every record
rerun.py          Finished cells are run again, and replace the old results when they are complete
small_batches.py  Batches that are too small for a method are refused before any chain runs
runner.py         The walk over a plan: all missing chains, one after the other, in this process
setting.py        Settings of a run that are in no key: device, processes, time limits
train_only.py     The training of one chain whose tasks run elsewhere
verify.py         A record is run again from its own document, and compared score by score
"""
