"""Leaderboards from records: records -> entries -> tables -> Markdown, CSV, LaTeX, JSON, plain text.

entries.py          Cells with their state, under names such that different things have different names
contents.py         Parameters of dataset, encoder, method or task, which tell apart things of one name
cell_states.py      The state of each cell of a plan: done, skipped, failed, stale or missing
columns.py          Columns of tasks: the first metric of each, or those that are asked for
encoder_rows.py     Rows of a table that holds no encoder fixed: pairs of method and encoder
build.py            Entries -> tables: rows are methods, columns are tasks, then computed columns, then cost
cells.py            Cells of task columns: entries -> values by seed -> mean, interval, bold, text
summary_columns.py  Columns computed from other columns, cost, and the row of chance levels
footer.py           The lines under a table: how its numbers were made
tuning_lines.py     Those of them that say how the rows were tuned
legend.py           Those of them that explain intervals, bold, marks, means and ranks
statistics.py       Statistics over seeds: intervals, tests, ranks
model.py            Parts of a table: columns, rows and cells
render.py           Tables as Markdown, plain text, LaTeX, CSV or JSON
screen.py           Tables as plain text that fits a terminal
escape.py           Escapes other people's text for each format
frames.py           pandas frames: one line for each score, or for each row of a table
export.py           Writes a tidy frame of scores to files for other tools
"""
