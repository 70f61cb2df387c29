"""Comparisons of rows: paired by seed, paired by test item, and mean ranks.

rows.py        Entries -> comparisons: two rows paired by seed and by test item, or all rows by their mean ranks
by_item.py     Two rows paired by test item: would another test set give the same?
many_items.py  The same for many pairs, with all draws made once
all_pairs.py   All pairs of rows of boards
text.py        Comparisons as plain text, Markdown or JSON
"""
