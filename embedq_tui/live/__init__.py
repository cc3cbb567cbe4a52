"""What the console knows of one database, and how it comes to know it."""
