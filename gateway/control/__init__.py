"""The control side: supervisor, inspection, HTTP, what all processes share."""
