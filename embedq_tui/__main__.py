"""The start of the program; `python -P -m embedq_tui` is `embedq-tui`."""

from __future__ import annotations

import os
import sys

from embedq_worker.interrupts import held
from embedq_worker.loading import loading


def main() -> None:
    """Entry point. Ctrl-C is answered from here on: nothing big has been imported yet."""
    # Nobody's plugin is asked about our settings: to find one, pydantic reads what each installed package
    # says of itself.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        with held(), loading():
            from embedq_tui.cli import main as begin
        begin()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
