"""Pictures drawn from records: those that a board names, or with `bench plot` all that a store can fill.

    [pictures.tradeoff]           # one score against another, a point for each row
    x = "distribution:sliced_ks"
    y = "knn:top1"
    connect = true                # draws a line through the points, in the board's order

    [pictures.plane]              # the embedding in two dimensions, a panel for each row
    kind = "projection"
    methods = ["random", "nac"]   # the rows; without this key all rows

`bench publish` draws a board's pictures beside its page. Each file carries a fingerprint of the numbers in it, so that
`bench table --check` finds out of date pictures without drawing. The same numbers give the same bytes: files have no
dates and no random names.

Pictures show records of today's code. Where a board has none for a picture, `stale.py` lets it show the stale ones.

kinds.py            the table of the kinds: a new kind is one file and one line
model.py            the interface of a kind, and the series of numbers or images that most kinds show
select.py           select rows and images from records, and average curves over seeds
series_kind.py      base of the kinds that show curves or grids of images
tradeoff.py projection.py precision_recall.py histogram.py layers.py lines.py samples.py: a kind each, from records
similarity.py       a kind that reads a store's embeddings
filters.py          a kind that reads a store's weights
over_epochs.py      a kind from records of several epochs of one training
training.py         a kind that reads a store's logs
tuning.py           a kind that reads a board's tuned.toml
end_labels.py       names beside the ends of lines
style.py            colours, panels and captions, and the SVG file
draw.py             one picture as a file
stale.py            chooses the cells of a board's picture while records are stale
plot.py             all pictures of a store, for `bench plot`
"""
