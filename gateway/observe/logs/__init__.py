"""Logs of every process, in one form, and the access log."""
