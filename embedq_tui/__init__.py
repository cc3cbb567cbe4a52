"""The operator's half of embedq: the commands and the console."""
