"""Stuck tasks: claimed, but never going to be finished."""
