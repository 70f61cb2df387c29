"""Turn a request into a plan: its chains and cells, with their keys.

boards.py           read a board.toml: rows, columns and everything that is held fixed
board_files.py      find the files of boards, in a checkout and in a wheel
board_documents.py  a board.toml over that of its base, with the rows of `only`
tuning.py           how the rows of a board are tuned, and what came out
spaces.py           search spaces of a board's rows
settings.py         parse the texts of `--set` and `--sweep`
request.py          resolve a request: every name to a component, every parameter to a value
row_encoders.py     which encoder a row has: the board's, its own, or the usual one for the kind of data
teachers.py         find the trained method that another one learns from
initial_weights.py  find and load the weights that a method's encoder starts from
weight_names.py     find the tensors of an encoder in a file whose names differ
origins.py          say in words where the recipe of a row comes from
chains.py           what a plan is made of: chains and their cells
at_epochs.py        cells on weights along the way
plan.py             make the chains and cells of a resolved request, each with its key
source_code.py      the digest of a component's code, and which files count
changed_code.py     records and trainings that were made by other code at the same revision
recipe_lines.py     lines that `bench run` begins with: how each row is trained
describe.py         texts of `bench list` and `bench show`
board_changes.py    text of `bench show NAME --board BOARD`: what a board changes of a component
why.py              text of `bench why`: what a key is made of, and what differs from the nearest record
"""
