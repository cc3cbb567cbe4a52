"""Start a program of embedq, before anything large is imported."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from types import ModuleType

from embedq_worker.errors import INTERRUPTED
from embedq_worker.process.imports import loading, uninterrupted
from embedq_worker.process.scarcity import scarce


def start(module: str, name: str) -> None:
    """Import a program and run it. From here on Ctrl-C ends it without a traceback.

    Args:
        module: Module of the program.
        name: Function in it that runs the program.
    """
    _without_plugins()
    if os.getpid() == 1:
        _end_on_signals()
    try:
        with uninterrupted(), loading():
            begin = getattr(import_module(module), name)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (OSError, ImportError, MemoryError) as error:
        if limit := scarce(error):
            sys.exit(f"embedq: {limit.message}\n  {limit.advice}")
        raise
    try:
        begin()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _without_plugins() -> None:
    """Keep pydantic from looking for plugins, of which embedq uses none, unless its variable names some.

    It would read the metadata of every installed package. Even if it does not, importing the module that
    could takes 12 ms and 1.2 MB, so one that finds none stands in for it. If pydantic names it differently,
    the variable still has its effect.
    """
    if os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__") == "__all__":
        loader = ModuleType("pydantic.plugin._loader")
        vars(loader)["get_plugins"] = tuple
        sys.modules.setdefault(loader.__name__, loader)


def _end_on_signals() -> None:
    """Do what the kernel does not for process 1 of a container: signals without a handler pass it by."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda received, _: os._exit(128 + received))
