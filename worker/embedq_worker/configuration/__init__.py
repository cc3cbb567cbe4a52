"""The settings: their names, ranges and purposes, and where their values come from."""
