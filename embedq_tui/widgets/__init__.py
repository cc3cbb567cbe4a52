"""Widgets that know no subject: what they show is given to them."""
