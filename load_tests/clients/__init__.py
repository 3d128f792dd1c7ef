"""Clients that nobody here wrote, against a gateway that serves models/."""
