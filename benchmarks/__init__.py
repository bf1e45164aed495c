"""Side-by-side measurements, each a command: `python -m benchmarks.NAME`. Every one prints both sides and their ratio."""
