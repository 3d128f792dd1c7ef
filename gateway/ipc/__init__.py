"""Links between processes: channels, their messages, shared files, entries of child processes."""
