"""What the console knows about one database, and how it keeps that up to date."""
