"""From a request to a plan: which chains and cells there are, with their keys.

boards.py           Boards: what is held fixed so that rows compare, read from a board.toml
describe.py         Lines for people: what there is, what a component is, why a cell has its key
initial_weights.py  Where a method's encoder starts from: fresh, from another chain of the same request, or from a
plan.py             A request -> chains and their cells, each with a key made of its content
request.py          A request -> components under the names of its rows, with every parameter resolved
settings.py         Texts of `--set` and `--sweep` -> values, each read as TOML
why.py              Why a cell has its key: what the key is made of, and what differs from the nearest record
"""
