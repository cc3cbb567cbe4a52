"""Dialogs: they ask, show progress and tell outcomes; all texts are data, none is markup."""
