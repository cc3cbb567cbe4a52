"""Turns database rows into text: lines, tables, plots, files."""
