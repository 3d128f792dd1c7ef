"""Answers that no caller should see: a guard around each instance of a version."""
