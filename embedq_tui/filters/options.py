"""Options that say which tasks are meant, the same for lists and for actions."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import click

from embedq_tui.invocation import Text
from embedq_worker.queue.wanted import TaskFilter, parse_article_id, parse_moment
from embedq_worker.queue.words import KINDS, PRIORITIES, STATUSES

F = TypeVar("F", bound=Callable[..., Any])


class Moment(click.ParamType[datetime | timedelta]):
    """``2h``, ``3d`` (ago), or an ISO 8601 time."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | timedelta:
        """Read it."""
        try:
            return parse_moment(str(value))
        except ValueError:
            self.fail(
                f"{value!r} is neither 30m, 2h or 3d (ago) nor a time such as 2026-11-24T15:00Z", param, ctx
            )


class ArticleId(click.ParamType[int]):
    """The id of an article."""

    name = "id"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        found = parse_article_id(str(value))
        if found is None:
            self.fail(f"{value!r} is not the id of an article", param, ctx)
        return found


class JsonObject(click.ParamType[str]):
    """A JSON object."""

    name = "json"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read it."""
        try:
            found = json.loads(str(value))
            text = json.dumps(found, allow_nan=False, ensure_ascii=False)
            text.encode()
        except (
            ValueError,
            RecursionError,
        ):  # among them what JSON in Python has and that of PostgreSQL has not
            found = None
        if not isinstance(found, dict) or "\\u0000" in text:
            self.fail(f'{value!r} is not a JSON object such as {{"source": "import"}}', param, ctx)
        return text


_OPTIONS: dict[str, Callable[[F], F]] = {
    "status": click.option(
        "--status",
        "statuses",
        type=click.Choice(STATUSES),
        multiple=True,
        help="May be given more than once.",
    ),
    "priority": click.option("--priority", type=click.Choice(PRIORITIES), help="Of this priority."),
    "slug": click.option("--slug", type=Text(), metavar="TEXT", help="The slug contains it."),
    "error": click.option("--error", type=Text(), metavar="TEXT", help="The error contains it."),
    "group": click.option(
        "--group", metavar="FINGERPRINT", help="Failed with an error of this group, see `embedq-tui failed`."
    ),
    "article": click.option("--article", type=ArticleId(), metavar="ID", help="Of this article."),
    "worker": click.option("--worker", type=click.UUID, metavar="ID", help="In the hands of this worker."),
    "operation": click.option(
        "--operation",
        type=click.UUID,
        metavar="ID",
        help="Queued by this bulk operation, such as a backfill.",
    ),
    "kind": click.option("--kind", type=click.Choice(KINDS), help="What is to be done to the article."),
    "metadata": click.option(
        "--metadata", type=JsonObject(), metavar="JSON", help="The metadata contain this object."
    ),
    "since": click.option(
        "--since",
        type=Moment(),
        metavar="TIME",
        help="Due, claimed or ended since: 2h, 3d (ago), or 2026-11-24T15:00Z.",
    ),
    "until": click.option("--until", type=Moment(), metavar="TIME", help="Due, claimed or ended until."),
}


def filter_options(*names: str) -> Callable[[F], F]:
    """Add options of a filter; the function gets their values, for `filter_of`."""

    def add(function: F) -> F:
        for name in reversed(names):
            function = _OPTIONS[name](function)
        return function

    return add


def filter_of(ids: tuple[UUID, ...] = (), **values: Any) -> TaskFilter:
    """The filter that the values of these options make.

    Args:
        ids: Tasks that were named; none for all.
        values: As click gives them, None for what was not given.

    Raises:
        UsageError: A value cannot be used.
    """
    return TaskFilter(ids=tuple(dict.fromkeys(ids)) or None, **values)
