"""A command line of each command that has something to do, and a database where it has."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import click

from embedq_tui.cli import cli
from tests.commands.actors import embed
from tests.commands.running import Tui
from tests.support.content import add_articles, queued_articles
from tests.support.databases import Connection

TASK = "6b0f3a52-6f4f-4c5e-9a53-1d1b4a6f7c11"
"""A failed task."""


class Kind(Enum):
    """What a command does to the database."""

    NOTHING = "asks none"
    LOOKS = "looks"
    CHANGES = "changes"


@dataclass(frozen=True, slots=True)
class Call:
    """How a command is called.

    Attributes:
        kind: What it does.
        arguments: Behind its name; ``OPERATION``, ``UNDOABLE`` and ``FILE`` stand for what `furnish` made.
        on_bare: Exit code in a database without any of the tables.
        migrates: Whether it makes them.
    """

    kind: Kind
    arguments: str = ""
    on_bare: int = 1
    migrates: bool = False


CALLS: dict[str, Call] = {
    "demo": Call(Kind.CHANGES, "--headless --yes", migrates=True),
    "status": Call(Kind.LOOKS),
    "stats": Call(Kind.LOOKS),
    "metrics": Call(Kind.LOOKS),
    "health": Call(Kind.LOOKS, "--ignore no_worker --ignore oldest_pending --ignore stuck --ignore stopped"),
    "failed": Call(Kind.LOOKS, "--details"),
    "stuck": Call(Kind.LOOKS),
    "list": Call(Kind.LOOKS),
    "recent": Call(Kind.LOOKS),
    "show": Call(Kind.LOOKS, TASK),
    "articles": Call(Kind.LOOKS),
    "article": Call(Kind.LOOKS, "1"),
    "retry": Call(Kind.CHANGES, "--failed"),
    "cancel": Call(Kind.CHANGES, "--slug waits --yes"),
    "clear": Call(Kind.CHANGES, "--confirm"),
    "priority": Call(Kind.CHANGES, "high --slug waits"),
    "undo": Call(Kind.CHANGES, "UNDOABLE"),
    "reset-stuck": Call(Kind.CHANGES),
    "start": Call(Kind.CHANGES),
    "stop": Call(Kind.CHANGES, "--force"),
    "pause": Call(Kind.CHANGES),
    "resume": Call(Kind.CHANGES),
    "concurrency": Call(Kind.CHANGES, "2"),
    "probe": Call(Kind.CHANGES),
    "cleanup": Call(Kind.CHANGES, "--yes"),
    "monitor": Call(Kind.LOOKS, "--once"),
    "audit": Call(Kind.LOOKS),
    "verify": Call(Kind.LOOKS),
    "search": Call(Kind.LOOKS, "anything --any-model"),
    "import": Call(Kind.CHANGES, "FILE"),
    "queue": Call(Kind.CHANGES, "1 --priority high"),
    "backfill": Call(Kind.CHANGES, "--yes"),
    "backfill status": Call(Kind.LOOKS, "OPERATION"),
    "backfill rollback": Call(Kind.CHANGES, "OPERATION --yes"),
    "triggers install": Call(Kind.CHANGES),
    "triggers remove": Call(Kind.CHANGES),
    "triggers status": Call(Kind.LOOKS, on_bare=0),
    "config": Call(Kind.NOTHING),
    "check": Call(Kind.LOOKS),
    "completion": Call(Kind.NOTHING, "bash"),
    "migrate": Call(Kind.CHANGES, migrates=True),
    "migrate up": Call(Kind.CHANGES, migrates=True),
    "migrate status": Call(Kind.LOOKS, on_bare=0),
    "migrate verify": Call(Kind.LOOKS),
    "migrate roles": Call(Kind.CHANGES),
    "migrate rollback": Call(Kind.CHANGES, "--to 2 --yes", on_bare=0),
}
"""By name; a test sees that it is complete."""


def leaf_commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Command lines of all commands and of the commands below them."""
    context = click.Context(group)
    found: list[tuple[str, ...]] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += leaf_commands(command, (*path, name))
    return found


@dataclass(frozen=True, slots=True)
class Furnished:
    """What the placeholders of the command lines stand for."""

    places: dict[str, str]

    def line(self, name: str) -> list[str]:
        """The command line of a command."""
        words = [*name.split(), *CALLS[name].arguments.split()]
        return [self.places.get(word, word) for word in words]


async def furnish(tui: Tui, connection: Connection, folder: Path) -> Furnished:
    """Give every command something to do."""
    file = folder / "page.md"
    file.write_text("# Page\n\nA page of text.\n", "utf-8")
    await queued_articles(connection, 2, slug="waits")
    [done] = await queued_articles(connection, 1, slug="done")
    await embed(connection, done)
    await add_articles(connection, ["A backfill queues this."], slug="found")
    backfill = await tui("backfill", "--yes", "--json")
    assert backfill.code == 0, backfill.err
    priority = await tui("priority", "low", "--slug", "waits", "--json")
    await connection.execute(
        f"""INSERT INTO embedding_tasks (id, slug, operation, status, attempts, error_message,
                                         processed_at, completed_at)
            VALUES ('{TASK}', 'broken', 'update', 'failed', 3, 'boom', now(), now()),
                   (embedq_uuid(), 'held', 'update', 'processing', 0, NULL, now() - interval '2 h', NULL),
                   (embedq_uuid(), 'old', 'update', 'completed', 0, NULL, now(), now() - interval '90 d')"""
    )
    await add_articles(connection, ["Nobody queued this."], slug="fresh")
    operation = backfill.document("backfill")["operation_id"]
    undoable = priority.document("action")["operation_id"]
    assert operation
    assert undoable
    return Furnished({"OPERATION": operation, "UNDOABLE": undoable, "FILE": str(file)})
