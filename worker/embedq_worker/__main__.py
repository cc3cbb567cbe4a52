"""Start the worker; `python -P -m embedq_worker` is the same as `embedq-worker`."""

from __future__ import annotations

from embedq_worker.process.start import start


def main() -> None:
    """Entry point."""
    start("embedq_worker.cli", "main")


if __name__ == "__main__":
    main()
