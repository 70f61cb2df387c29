"""The four hooks: the plugin author's manual, on one screen.

A plugin is a module that imports `bench_core`, defines classes, and hands them over in one or more of these
functions, marked `@hookimpl`. It is announced by one line of its own pyproject.toml:

    [project.entry-points.bench]
    ijepa = "bench_ijepa"

Each hook takes no arguments and returns `{name: class}`; names are snake_case. Registering is cheap: importing
the module loads no data, no weights and no optional package. `bench check ijepa` tries all that a class promises.
"""

import pluggy

from bench_core.contracts import Dataset, Encoder, Evaluator, Objective

hookspec = pluggy.HookspecMarker("bench")


@hookspec
def bench_encoders() -> dict[str, type[Encoder]]:
    """Networks under study: `{"convnet": ConvNet}`; inputs -> features, and named local maps."""
    raise NotImplementedError  # a specification; pluggy never calls it


@hookspec
def bench_objectives() -> dict[str, type[Objective]]:
    """Methods, the rows of a table: `{"simclr": SimCLR}`; each owns its encoder, makes its views, returns its loss."""
    raise NotImplementedError  # a specification, too


@hookspec
def bench_datasets() -> dict[str, type[Dataset]]:
    """Data: `{"mnist": MNIST}`; named splits, a digest of their content, labels that training never sees."""
    raise NotImplementedError  # a specification, too


@hookspec
def bench_evaluators() -> dict[str, type[Evaluator]]:
    """Tasks, the columns of a table: `{"knn": KNN}`; frozen embeddings -> scores with direction and chance level."""
    raise NotImplementedError  # a specification, too
