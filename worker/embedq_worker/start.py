"""Start a program of embedq, before anything large is imported."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from embedq_worker.errors import INTERRUPTED
from embedq_worker.imports import held, loading


def start(module: str, name: str) -> None:
    """Import a program and run it. From here on Ctrl-C ends it without a traceback.

    Args:
        module: Module of the program.
        name: Function in it that runs the program.
    """
    # To find plugins, pydantic would read the metadata of every installed package; embedq uses none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        with held(), loading():
            begin = getattr(import_module(module), name)
        begin()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
