"""Instances on other servers: they run batches of a version at an address.

Any server of the Open Inference Protocol will do.
"""
