"""Benchmarks: each prints the physical limit and a peer on the same work in the same run."""
