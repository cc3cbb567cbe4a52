"""The list of tasks, and the details of one."""
