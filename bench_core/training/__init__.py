"""Training and embedding of one method: the loop, its checkpoints, its log.

pretrain.py     The training loop: one for every method
trial.py        Trials before a training: features of the encoder, one step on made data
stages.py       Stages of a training: their players, and how the epochs are divided among them
players.py      Players of a method with their optimisers, and the training step that moves all of them
optimizers.py   Optimisers and learning rates, as the papers use them
epoch_log.py    Losses of an epoch, and the line that they leave in the log of a training
kept_weights.py The weights of the least training loss, for methods that end with them
state.py        State of a training: all that a checkpoint holds
autosave.py     The moments at which the training loop resumes and saves
checkpoints.py  Checkpoint files: written whole, checked when they are read
stopping.py     Stop signals (Ctrl-C, SIGTERM, Slurm's SIGUSR1), deferred until a training step has ended
embed.py        Embeddings of each split by a trained method, written once for all tasks
"""
