"""Claims of papers, judged by records.

claim.py     Claims and papers as their files state them
files.py     Reads claim files, one for each paper
folders.py   Finds the folders of claim files: the project's own, and those that other packages announce
check.py     Checks of claims against their boards
evidence.py  Values of a claim's rows by seed, from records
verdict.py   Verdicts: one-sided tests over common seeds, and Holm over the claims of a paper
commands.py  The commands of `bench run` that measure claims
report.py    Papers with verdicts and commands: all that is printed
text.py      Verdicts for a terminal, and as JSON
page.py      The page of claims, leaderboards/claims/README.md
"""
