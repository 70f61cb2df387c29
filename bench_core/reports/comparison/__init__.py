"""Comparisons of rows: paired by seed, paired by test item, and mean ranks.

rows.py     Entries -> comparisons: two rows paired by seed and by test item, or all rows by their mean ranks
by_item.py  Two rows paired by test item: would another test set give the same?
text.py     Comparisons as plain text, Markdown or JSON
"""
