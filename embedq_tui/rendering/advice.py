"""Advice that names commands, in the words of the console: with its screens and keys."""

from __future__ import annotations

import re

from embedq_tui.rendering.keys import key
from embedq_worker.text import printable_line


def advice_here(advice: str, retry: str = "") -> str:
    """Advice as the console shows it: with screens and keys instead of commands.

    Args:
        advice: From `insights`, which names commands.
        retry: What to say instead of the retry command.
    """
    here = _COMMANDS.sub(lambda found: _place(found[1]), printable_line(advice))
    here = here.replace(_START, f"{_START} or {_place('worker')}")
    return _RETRYING.sub(retry, here) if retry else here


_PLACES = {
    "status": ("Workers", ""),
    "metrics": ("Metrics", ""),
    "failed --details": ("Failures", ""),
    "reset-stuck": ("Stuck", "stuck.reset_all"),
    "resume": ("Workers", "workers.pause"),
    "start": ("Workers", "workers.stop_all"),
    "worker": ("Workers", "workers.start"),
    "probe": ("", "app.probe"),
    "check": ("Settings", "settings.check"),
    "verify --repair": ("Settings", "settings.verify"),
}
"""Where the console has what a command does: on which screen, and by which binding."""


def _place(command: str) -> str:
    """The same in words: ``Stuck (3), R``."""
    screen, action = _PLACES[command]
    there = f"{screen} ({key(f'show.{screen.lower()}')})" if screen else ""
    return ", ".join(filter(None, (there, key(action) if action else "")))


_COMMANDS = re.compile(f"`?embedq-tui ({'|'.join(_PLACES)})`?")

_START = "start one: embedq-worker"

_RETRYING = re.compile(r"embedq-tui retry (--failed( --group \w+)?|[\w-]{36})")
