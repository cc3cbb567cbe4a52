"""Every task, and one."""
