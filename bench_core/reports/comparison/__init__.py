"""Comparisons of rows: paired by seed, paired by test item, and mean ranks.

by_item.py  Two rows paired by test item: what another test set would give for the networks as they are trained
rows.py     Entries -> honest comparisons: two rows paired by seed and by test item, or all rows by their mean ran
text.py     Comparisons as plain text, Markdown or JSON
"""
