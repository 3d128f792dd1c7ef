"""Metrics as Prometheus and OpenTelemetry want them.

One model of families and samples, and an encoding for each.
"""
