"""A line for each request, written by the telemetry process."""
