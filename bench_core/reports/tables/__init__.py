"""Leaderboards from records: records -> entries -> tables -> Markdown, CSV, LaTeX, JSON, plain text.

build.py            Entries -> tables: rows are methods, columns are tasks, then what sums them up, then cost
cell_states.py      What is known of each cell of a plan: joined from plan, records and attempts, never stored
cells.py            Cells of tasks: entries -> values by seed -> mean, interval, bold, text
entries.py          What a table is built from: cells with a state, under names that tell different things apart
escape.py           Other people's text made safe for each format
export.py           A tidy frame of scores -> files for other tools
footer.py           The lines under a table: how its numbers were made
frames.py           Records as a tidy pandas frame: one row a score
model.py            What a table is made of. Every format is drawn from these and from nothing else
render.py           A table as Markdown, plain text, LaTeX, CSV or JSON; all say the same, because a
statistics.py       Statistics over seeds: intervals, who can be told from the best, ranks
summary_columns.py  Columns made of others (mean, mean rank, coverage), cost, and the row of chance levels
"""
