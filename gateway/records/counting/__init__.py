"""The counters of a version: each declared once, its place in the shared table, how it is read."""
