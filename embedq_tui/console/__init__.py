"""The console: the application, its terminal, its colours, keys that work everywhere."""
