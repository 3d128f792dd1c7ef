"""Log lines of every process, in one form."""
