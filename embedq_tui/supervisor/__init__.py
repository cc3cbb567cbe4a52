"""A worker as a child process of the console."""
