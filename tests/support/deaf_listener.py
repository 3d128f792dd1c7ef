"""A listener of outcomes that ignores them all."""


class Deaf:
    """Ignores every outcome."""

    def begin(self) -> int:
        """Every batch is of generation 0."""
        return 0

    def end(self, generation, outcome, elapsed_s, error) -> None:
        """The outcome is ignored."""
