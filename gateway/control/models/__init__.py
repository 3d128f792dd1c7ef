"""Which models there are and how each is meant to be served."""
