"""Tasks in a hand that will not finish them."""
