"""Clients of a running gateway, as the commands use them."""
