"""Spans of what the serving processes wrote down.

Made, encoded and exported in the telemetry process.
"""
