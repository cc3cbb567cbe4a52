"""What a command and the console both do, whoever asks."""
