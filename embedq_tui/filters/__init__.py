"""Filters as an operator types them, names and keeps them."""
