"""A program as a process: its start, its event loop, its output, the limits and the machine it meets."""
