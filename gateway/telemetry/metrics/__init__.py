"""Metrics: one model of families and samples, and an encoding each for Prometheus and OTLP."""
