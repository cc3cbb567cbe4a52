"""The list of articles, the details of one, and search."""
