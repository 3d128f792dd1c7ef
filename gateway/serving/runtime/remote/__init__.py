"""Instances on other servers: batches of a version run by whoever speaks the Open Inference Protocol at an address."""
