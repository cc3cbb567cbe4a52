"""Filters as an operator types, names and saves them."""
