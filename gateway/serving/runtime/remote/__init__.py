"""Instances on other servers.

Batches of a version run by whoever speaks the Open Inference Protocol at an address.
"""
