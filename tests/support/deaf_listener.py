"""A breaker's ears that hear nothing."""


class Deaf:
    """Hears nothing."""

    def begin(self) -> int:
        """No generation."""
        return 0

    def end(self, generation, outcome, elapsed_s, error) -> None:
        """Nothing."""
