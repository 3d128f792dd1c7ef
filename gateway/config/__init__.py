"""All that people may set, and how it is read."""
