"""Dialogs for questions, progress and outcomes. Every text is plain data, never markup."""
