"""The buckets of histograms, in which the serving process counts and the telemetry process reads.

They are given by their upper bounds, each in its bucket; one more bucket has no bound.
"""

from __future__ import annotations

from typing import Final

TIME_BOUNDS_S: Final = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
"""Times, from what a small model takes to what a caller waits for."""
SIZE_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
"""Rows of batches."""
