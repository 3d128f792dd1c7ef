"""What is decided about a version before it is built."""
