"""Benchmarks: one script per hot path, each beside a baseline of the same run."""
