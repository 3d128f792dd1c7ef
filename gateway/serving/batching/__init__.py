"""Requests that wait become batches."""
