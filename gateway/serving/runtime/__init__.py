"""What runs batches of a version: threads, worker processes, other servers."""
