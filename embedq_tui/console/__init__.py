"""The console: the application, its terminal, its colours, the global keys."""
