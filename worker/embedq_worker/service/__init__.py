"""The worker: its loops, what it does with a batch, and how it is put together."""
