"""Spans of what the serving processes recorded: made, encoded and exported."""
