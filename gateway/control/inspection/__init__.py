"""Inspection of model versions.

Each is opened, tried and measured once, in a process of its own,
before any serving process meets it.
"""
