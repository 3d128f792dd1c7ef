"""Load tests: what the gateway serves, how fast, and whether every reply was right.

See README.md in this folder.
"""
