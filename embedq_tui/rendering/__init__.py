"""Turns database rows into text: lines, tables, plots, files.

Here and in the screens, widths are in cells, `now` is the database's time, and the texts of a row may hold
anything.
"""
