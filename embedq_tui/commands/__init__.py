"""The operator's commands: each asks `insights` or acts through `queue`, and prints."""
