"""The console: its wiring, its keys, how it acts and how it draws."""
