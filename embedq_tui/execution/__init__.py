"""Actions requested in the console: how they are carried out, and how they are undone."""
