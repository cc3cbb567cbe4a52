"""The console: its wiring, its keys, how it carries out requests and how it draws."""
