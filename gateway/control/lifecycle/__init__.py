"""Versions from found to served to gone, the same in every serving process (control process)."""
