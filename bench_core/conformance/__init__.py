"""The checks that every plugin must pass, in this package or another.

check.py       select components and try all checks of their kind
components.py  checks of every kind of component
datasets.py  encoders.py  evaluators.py  objectives.py   checks of one kind
toys.py        tiny data and components that the checks are made on
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
