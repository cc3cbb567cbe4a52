"""Entry point: `python -P -m embedq_tui` is the same as `embedq-tui`."""

from __future__ import annotations

from embedq_worker.process.start import start


def main() -> None:
    """Entry point."""
    start("embedq_tui.cli", "main")


if __name__ == "__main__":
    main()
