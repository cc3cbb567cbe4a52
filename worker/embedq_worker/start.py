"""The start of a program of ours, before anything big is imported."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from embedq_worker.errors import INTERRUPTED
from embedq_worker.interrupts import held
from embedq_worker.loading import loading


def start(module: str, name: str) -> None:
    """Import a program and run it. Ctrl-C is answered from here on.

    Args:
        module: Where it is.
        name: Of what runs it.
    """
    # Nobody's plugin is asked about our settings: to find one, pydantic reads what each installed package
    # says of itself.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        with held(), loading():
            begin = getattr(import_module(module), name)
        begin()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
