"""The start of the program; `python -P -m embedq_tui` is `embedq-tui`."""

from __future__ import annotations

from embedq_worker.start import start


def main() -> None:
    """Entry point."""
    start("embedq_tui.cli", "main")


if __name__ == "__main__":
    main()
