"""Articles: reading them from files, chunking, storing and searching."""
