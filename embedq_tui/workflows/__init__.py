"""Work that commands and the console share."""
