"""Benchmarks: side by side in one run, as ratios, because machines differ and are busy."""
