"""The numbers that ModelStatistics answers, as they are read from where all processes count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Duration(Protocol):
    """How often something happened and how long it took together."""

    @property
    def count(self) -> int:
        """Times."""
        ...

    @property
    def ns(self) -> int:
        """Nanoseconds."""
        ...


class BatchCounts(Protocol):
    """Batches of one size; the times are summed over them."""

    @property
    def batch_size(self) -> int:
        """Rows of each."""
        ...

    @property
    def count(self) -> int:
        """Batches."""
        ...

    @property
    def compute_input_ns(self) -> int:
        """Putting the requests together."""
        ...

    @property
    def compute_infer_ns(self) -> int:
        """Running the model."""
        ...

    @property
    def compute_output_ns(self) -> int:
        """Taking the answers apart."""
        ...


class VersionCounts(Protocol):
    """The numbers of one version over all processes."""

    @property
    def success(self) -> Duration:
        """Requests answered, from arrival to answer."""
        ...

    @property
    def fail(self) -> Duration:
        """Requests accepted and failed."""
        ...

    @property
    def queue(self) -> Duration:
        """Waiting."""
        ...

    @property
    def compute_input(self) -> Duration:
        """Putting requests together."""
        ...

    @property
    def compute_infer(self) -> Duration:
        """Running the model."""
        ...

    @property
    def compute_output(self) -> Duration:
        """Taking answers apart."""
        ...

    @property
    def cache_hit(self) -> Duration:
        """Requests answered from the response cache."""
        ...

    @property
    def cache_miss(self) -> Duration:
        """Requests looked up in vain."""
        ...

    @property
    def inference_count(self) -> int:
        """Rows answered."""
        ...

    @property
    def execution_count(self) -> int:
        """Batches run."""
        ...

    @property
    def last_inference_ms(self) -> int:
        """Of the Unix epoch; 0: never."""
        ...

    @property
    def batches(self) -> Sequence[BatchCounts]:
        """Sizes that occurred, ascending."""
        ...


class StatisticsTable(Protocol):
    """Where all processes count."""

    def read(self, row: int) -> VersionCounts:
        """The numbers of a row, summed over all processes."""
        ...
