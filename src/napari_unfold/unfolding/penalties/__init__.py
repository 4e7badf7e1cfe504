"""Sparsity penalties, one a file: what a new one needs is `unfolding.penalty.Penalty`."""
