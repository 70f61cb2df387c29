"""The checks of `bench_core.conformance`, by kind; each is a function of a class whose docstring is its name."""
