"""Tuning of a board's rows: every row gets the same number of trials, drawn the same way, scored on a part of train.

trials.py       which values each trial of a row has
trial_board.py  the trials of all rows as the rows of an ordinary board
outcome.py      scores of the trials, read from records, and which trial is the best
tuned_file.py   tuned.toml
study.py        the trials as Optuna's tools read them
"""
