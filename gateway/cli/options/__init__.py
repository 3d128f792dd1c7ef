"""Options of the commands: read from the command line, the environment and a file."""
