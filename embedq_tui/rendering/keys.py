"""Keys in texts: as they are bound by default, unless the operator has bound others."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType

DEFAULTS = {
    "app.migrate": "M",
    "app.probe": "n",
    "app.quit": "q",
    "app.troubles": "!",
    "app.undo": "u",
    "article.next": "tab",
    "articles.backfill": "b",
    "articles.count": "C",
    "articles.filter": "/",
    "articles.import": "i",
    "articles.next": "]",
    "articles.search": "s",
    "articles.state_next": "tab",
    "articles.take_back": "B",
    "audit.older": "[",
    "confirm.no": "n",
    "confirm.staged": "s",
    "confirm.yes": "y",
    "detail.next": "tab",
    "dialog.back": "esc",
    "failures.next": "]",
    "failures.retry": "r",
    "failures.sort": "s",
    "failures.span": "t",
    "help.close": "esc",
    "log.last": "G",
    "screen.freeze": "f",
    "search.back": "esc",
    "settings.back": "esc",
    "settings.check": "c",
    "settings.migrate": "m",
    "settings.next": "tab",
    "settings.only_set": "d",
    "settings.verify": "v",
    "show.overview": "1",
    "show.tasks": "2",
    "show.stuck": "3",
    "show.failures": "4",
    "show.workers": "5",
    "show.audit": "6",
    "show.metrics": "7",
    "show.articles": "8",
    "show.settings": "9",
    "stuck.minutes": "m",
    "stuck.reset_all": "R",
    "table.top": "g",
    "tasks.filter": "/",
    "tasks.next": "]",
    "tasks.retry": "r",
    "tasks.save_filter": "w",
    "tasks.saved_filters": "o",
    "tasks.status_next": "tab",
    "troubles.close": "esc",
    "workers.pause": "P",
    "workers.pause_one": "p",
    "workers.start": "s",
    "workers.stop_all": "S",
}
"""The keys that texts name, by the id of their binding; of several keys, the first."""

_bound: ContextVar[Mapping[str, str]] = ContextVar("bound keys", default=MappingProxyType({}))


def bind(keys: Mapping[str, str]) -> None:
    """Use these keys of the operator in the texts of the running application.

    Args:
        keys: By the id of their binding; others are as by default.
    """
    _bound.set(keys)


def key(name: str) -> str:
    """The key of a binding, as texts name it.

    Args:
        name: Its id, one of `DEFAULTS`.
    """
    return _bound.get().get(name, DEFAULTS[name])
