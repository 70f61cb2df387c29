"""Training and embedding of one method: the loop, its checkpoints, its log.

checkpoints.py  Checkpoints: where a training stands, in one file that proves itself
embed.py        Trained method -> embeddings of each split, once for all tasks
epoch_log.py    The line that an epoch leaves in a training's log
optimizers.py   Optimisers and rates, as the papers use them
pretrain.py     The training loop: one for every method
state.py        Where a training stands: all that a checkpoint holds, so that going on gives the bits of never hav
stopping.py     Being told to stop: Ctrl-C, SIGTERM, and Slurm's SIGUSR1 shortly before its limit
"""
