"""How fast we are, side by side with what people use today: `python -m benchmarks.NAME`, see README.md here."""
