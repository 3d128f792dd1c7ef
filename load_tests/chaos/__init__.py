"""Fault trials: faults of every kind while a load runs, and what its callers get."""
