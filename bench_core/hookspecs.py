"""The four hooks that register encoders, methods, datasets and tasks: a short manual for plugin authors.

A plugin is a module that imports `bench_core`, defines classes, and returns them from one or more of these hooks:

    from bench_core import Objective, hookimpl

    class IJEPA(Objective): ...

    @hookimpl
    def bench_objectives():
        return {"ijepa": IJEPA}

The pyproject.toml of its package names the module, so that `bench` finds it:

    [project.entry-points.bench]
    ijepa = "bench_ijepa"

Each hook takes no arguments and returns `{name: class}` with names in snake_case. Every `bench` command imports the
module, so the import must load no data, no weights and no optional package. `bench check ijepa` tests the classes.
"""

import pluggy

from bench_core.contracts import Dataset, Encoder, Evaluator, Objective

hookspec = pluggy.HookspecMarker("bench")


@hookspec
def bench_encoders() -> dict[str, type[Encoder]]:
    """Return encoders, the networks under study: `{"convnet": ConvNet}`. They turn inputs into features."""
    raise NotImplementedError  # a specification; pluggy never calls it


@hookspec
def bench_objectives() -> dict[str, type[Objective]]:
    """Return methods, the rows of a table: `{"simclr": SimCLR}`. A method makes views and returns its loss."""
    raise NotImplementedError  # a specification; pluggy never calls it


@hookspec
def bench_datasets() -> dict[str, type[Dataset]]:
    """Return datasets: `{"mnist": MNIST}`. A dataset has named splits and a digest of their content."""
    raise NotImplementedError  # a specification; pluggy never calls it


@hookspec
def bench_evaluators() -> dict[str, type[Evaluator]]:
    """Return tasks, the columns of a table: `{"knn": KNN}`. A task turns embeddings into scores."""
    raise NotImplementedError  # a specification; pluggy never calls it
