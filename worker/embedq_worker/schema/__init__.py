"""The schema: brought up, looked at, checked, taken back; and what it lets be stored."""
