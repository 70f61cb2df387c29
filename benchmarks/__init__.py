"""Measure our speed beside that of the libraries people use today: `python -m benchmarks.NAME`; see README.md here."""
