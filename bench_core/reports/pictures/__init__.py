"""Pictures drawn from records: a board asks for them, or `bench plot` draws what a store holds.

    [pictures.tradeoff]           # one score against another, a point for each row
    x = "distribution:sliced_ks"
    y = "knn:top1"
    connect = true                # a line through the points, in the board's order

    [pictures.plane]              # the embedding in two dimensions, a panel for each row
    kind = "projection"
    methods = ["random", "nac"]   # rows; all of them where it is left out

Kinds: `bench_core.reports.pictures.kinds`. `bench publish` draws a board's pictures beside its page, and each
carries a hash of
the numbers in it, by which `bench table --check` sees, without drawing, whether it is still true. The same numbers give
the same file: no dates, no random names.
"""
