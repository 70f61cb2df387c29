"""Generated pages: boards, components, and the numbers that papers report.

components.py        What is generated in docs/methods/NAME.md and docs/tasks/NAME.md: parameters, our numbers, th
markers.py           Generated text between markers in files that people write
publish.py           A board's records and the pages that are generated from them
reported_numbers.py  Numbers that papers report: never among ours, only beside them, each with its source
"""
