"""Runs a plan: chain by chain, cell by cell, with progress and failures.

chain.py       One chain: load its splits, pretrain its method, embed its data
evaluate.py    One cell: run a task on a frozen method and write its record
failures.py    What a failure leaves behind: why, what it said last, how long it ran; one file a cell in the store
pending.py     What of a plan is left to do, and what of that cannot be done in this run any more
progress.py    What a person sees while chains run: a live bar on a terminal, a line now and then elsewhere; all o
provenance.py  Where a number came from: stored beside it, never in its key
runner.py      Walks a plan: what is missing, one chain at a time, one failure at a time
setting.py     Where and how a plan runs; none of it is in a key
verify.py      A record put to the test: run again from what it says of itself alone, and compared score by score
"""
