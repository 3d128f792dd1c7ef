"""Where model versions come from."""
