"""Metrics as Prometheus and OpenTelemetry want them: one model of families and samples, and an encoding for each."""
