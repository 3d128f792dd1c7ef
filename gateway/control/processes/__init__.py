"""Processes that the control process starts, watches and stops."""
