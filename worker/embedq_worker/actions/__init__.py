"""What an operator does to many tasks and articles, and takes back."""
