"""Tensors from files and to the terminal."""
