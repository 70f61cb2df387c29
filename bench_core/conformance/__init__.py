"""The checks that every plugin must pass, in this package or another; `bench check NAME` runs them.

check.py       selects components, runs the checks of their kind, and reports each outcome
components.py  checks of all kinds: docstring, Config, revision
datasets.py    checks of datasets: splits agree with the description, missing data is reported
encoders.py    checks of encoders: features, local maps, gradients
objectives.py  checks of methods: losses, views, embeddings, resumed training, variants
evaluators.py  checks of tasks: scores and per-item results
examples.py    what a component is tried on: made data of each kind that it reads, or its own example
tiny_encoders.py  small encoders of each kind of data
capable.py     toy methods that can do all that some tasks ask for
toys.py        toy images and components that checks and tests run on, and `require`
comparing.py   compares values of any kind
"""

from bench_core.conformance.check import Outcome as Outcome
from bench_core.conformance.check import assert_conforms as assert_conforms
from bench_core.conformance.check import check_component as check_component
from bench_core.conformance.check import select as select

__all__ = [
    "Outcome",
    "assert_conforms",
    "check_component",
    "select",
]
