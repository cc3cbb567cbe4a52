"""Articles: read from files, cut into chunks, stored, found."""
