"""Faults of every kind while a load runs: who is answered, rightly and in time."""
