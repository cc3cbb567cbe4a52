"""The operator's half of embedq: commands without a screen and the console."""
