"""Spans of what the serving processes wrote down: made, encoded and exported in the telemetry process."""
