"""Turn a request into a plan: its chains and cells, with their keys.

boards.py           read a board.toml: rows, columns and everything that is held fixed
settings.py         parse the texts of `--set` and `--sweep`
request.py          resolve a request: every name to a component, every parameter to a value
initial_weights.py  find the weights that a method's encoder starts from
plan.py             make the chains and cells of a resolved request, each with its key
describe.py         texts of `bench list` and `bench show`
why.py              text of `bench why`: what a key is made of, and what differs from the nearest record
"""
