"""Start the worker; `python -P -m embedq_worker` is the same as `embedq-worker`."""

from __future__ import annotations

import sys

from embedq_worker.output import patient_output
from embedq_worker.start import start


def main() -> None:
    """Entry point."""
    if sys.stderr is not None:  # it was not closed at the start
        sys.stderr = patient_output(2, sys.stderr.encoding)
    start("embedq_worker.cli", "command")


if __name__ == "__main__":
    main()
