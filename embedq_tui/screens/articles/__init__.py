"""Every article, and one."""
