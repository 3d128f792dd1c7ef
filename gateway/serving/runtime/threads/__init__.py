"""Instances that run in threads of the serving process."""
