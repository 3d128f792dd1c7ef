"""What happened: written once by serving processes into shared memory, read by others."""
