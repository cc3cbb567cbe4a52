"""The start of the worker; `python -P -m embedq_worker` is `embedq-worker`."""

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
            from embedq_worker.cli import command
        command()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
