"""The operator's commands: each asks `insights` or acts through `actions`, and prints."""
