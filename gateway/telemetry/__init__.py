"""The telemetry process: shows what happened."""
