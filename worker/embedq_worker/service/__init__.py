"""The worker: its loops, the processing of a batch, and how its parts are put together."""
