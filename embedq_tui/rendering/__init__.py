"""Rows of the database as text: lines, tables, plots, files."""
