"""Pages of published boards, of methods and of tasks, generated between markers.

publish.py           Copies a board's records out of a store, and writes the generated pages; checks them later
published_records.py What of earlier records stays when new ones are published
published_board.py   One published board: its cells, its page and its pictures
components.py        Generated sections of docs/methods/NAME.md and docs/tasks/NAME.md
markers.py           Puts generated text between markers in files that people write
reported_numbers.py  Numbers that papers report, shown below ours, each with its source
"""
