"""The frame of every screen: which database this is, whether it responds, and what is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from embedq_tui.live.questions import Question
from embedq_tui.live.session import Session
from embedq_tui.live.store import Store
from embedq_tui.live.troubles import Trouble, troubles, try_now, unavailable
from embedq_tui.rendering.advice import advice_here
from embedq_tui.rendering.keys import key
from embedq_tui.rendering.styles import BAD, DOUBTFUL, GOOD, HEAD, QUIET, badge
from embedq_tui.screens import ENTRIES
from embedq_worker.database.listener import Hearing
from embedq_worker.errors import MIGRATE
from embedq_worker.text import age, printable_line

SPACED = 100
"""Width from which the tabs are spaced out, and can carry numbers."""


def spread(left: Text, right: Text, width: int) -> Text:
    """Put two texts at the ends of a line; if they do not fit, the left one is cut."""
    room = max(width - right.cell_len - 1, 0)
    line = left.copy()
    line.truncate(room, overflow="ellipsis", pad=True)
    return Text.assemble(line, " " if room else "", right)


def title(
    session: Session, width: int, *, frozen_s: float | None, shown: Iterable[Question[Any]] = ()
) -> Text:
    """The title line: the database, and how current the display is.

    Args:
        session: The session with the database.
        width: Available width in cells.
        frozen_s: Age of a frozen display in seconds; None if not frozen.
        shown: Questions whose answers the screen shows; it may not have been open for long.
    """
    profile = session.profile
    word = printable_line(profile.badge, 20)
    left = Text(" embedq ", HEAD).append_text(badge(word, profile.badge_colour))
    left.append(printable_line(session.link.place))
    if session.read_only and session.store.access is not None:
        left.append("  READ-ONLY", f"bold {DOUBTFUL}")
    return spread(left, _pulse(session.store, frozen_s, shown), width)


def _pulse(store: Store, frozen_s: float | None, shown: Iterable[Question[Any]]) -> Text:
    now, line = store.now(), Text()
    if frozen_s is not None:
        line.append(f"frozen, {age(frozen_s)} old ", f"bold {DOUBTFUL}")
    if store.lost is not None:
        left_s = store.lost.retry_at - time.monotonic()
        again = f"retry in {age(max(left_s, 1))}" if left_s > 0 else "retrying"
        old = f", data {age(seconds)} old" if (seconds := store.age_s(shown)) is not None else ""
        return line.append(f"● no answer{old}, {again} ", BAD)
    if now is None:
        return line.append("no data " if store.error is not None else "connecting ", QUIET)
    if (seconds := store.overdue_s(shown if frozen_s is None else ())) is not None:
        line.append(f"● data {age(seconds)} old ", DOUBTFUL)
    elif store.hearing is Hearing.LISTENING:
        line.append("● live ", GOOD)
    elif store.hearing is Hearing.DEAF:
        line.append("● polling ", DOUBTFUL)
    else:
        line.append("● not listening ", DOUBTFUL)
    return line.append(f"{now.astimezone():%H:%M:%S} ")


def tabs(current: str, store: Store, width: int) -> Text:
    """The line of tabs; on wide terminals some carry the number of items on that screen."""
    numbers = _numbers(store) if width >= SPACED + 20 else {}
    line = Text(" " if width >= SPACED else "")
    for entry in ENTRIES:
        chosen = entry.name == current
        gap = " " if width >= SPACED else ""
        line.append(f"{gap}{key(f'show.{entry.name}')}{gap}", f"reverse {HEAD}" if chosen else QUIET)
        line.append(f"{entry.title}{gap}", f"reverse {HEAD}" if chosen else "")
        if number := numbers.get(entry.name, 0):
            line.append(f"{number:,} ", f"reverse {HEAD}" if chosen else DOUBTFUL)
        line.append(" ")
    return line


def tab_at(place: int, line: str) -> str:
    """The name of the screen at a place in the line of tabs.

    Args:
        place: Counted in characters, from 0.
        line: The text of `tabs`.
    """
    begins = {
        entry.name: line.rfind(key(f"show.{entry.name}"), 0, line.find(entry.title)) for entry in ENTRIES
    }
    return [name for name, begin in begins.items() if begin <= max(place, begins[ENTRIES[0].name])][-1]


def _numbers(store: Store) -> dict[str, int]:
    if store.overview is None:
        return {}
    stuck = next((m.value for m in store.health.measures if m.name == "stuck"), 0) if store.health else 0
    return {
        "stuck": round(stuck),
        "failures": store.overview.queue.counts.failed,
        "workers": len(store.overview.alive),
    }


def alert(store: Store, width: int, *, read_only: bool = False) -> Text:
    """The worst current problem in one line, with what to do about it; empty if all is well.

    Args:
        store: What is known about the database.
        width: Available width in cells; if needed the message is cut, never the advice.
        read_only: Nothing may be changed here, so no key migrates the schema.
    """
    migrate = MIGRATE if read_only else f"{key('app.migrate')}: migrate"
    if store.lost is not None:
        return Text(f" {printable_line(store.lost.error.message)}", BAD)
    issues = troubles(store)
    if not issues:
        return Text()
    message = Text(f" {printable_line(issues[0].message)}", DOUBTFUL if store.error is None else BAD)
    for hint in _hints(store, issues, migrate):
        if message.cell_len + 2 + cell_len(hint) <= width:
            break
    return _with_hint(message, hint, width)


def _hints(store: Store, issues: Sequence[Trouble], migrate: str) -> Iterator[str]:
    """What to do about the worst problem: the advice itself, and in fewer words."""
    troubles_key = key("app.troubles")
    more = f"(+{len(issues) - 1} more: {troubles_key})" if len(issues) > 1 else ""
    brief = more or f"(advice: {troubles_key})"
    if issues[0].advice == MIGRATE:
        yield f"{migrate} {brief}"
        return
    if issues[0].advice:
        yield f"{printable_line(advice_here(issues[0].advice))} {more}".rstrip()
    if any(unavailable(store)):
        yield f"{try_now()} {brief}"
    yield brief  # the reason needs the room: what to press is also in the advice


def _with_hint(message: Text, hint: str, width: int) -> Text:
    line = Text.assemble(message)  # a copy, so that the hint does not inherit its style
    line.truncate(max(width - cell_len(hint) - 2, 20), overflow="ellipsis")
    return line.append(f"  {hint}", QUIET) if hint else line
