"""What people write about a model, read and merged."""
