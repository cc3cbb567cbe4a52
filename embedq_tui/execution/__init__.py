"""What is asked for at the console, how it is carried out, and how it is taken back."""
