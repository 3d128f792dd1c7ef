"""Where models come from and how each is meant to be served."""
