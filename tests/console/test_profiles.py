"""Several databases in one console: what is shown is of the one that is looked at, and of no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from embedq_tui.console.app import Console
from embedq_tui.desk import Options
from embedq_tui.dialogs.dialog import Dialog
from embedq_tui.profiles import Profile, load_profiles
from tests.console.running import OPERATOR, ConsolePilot, shown, until_shown, until_text
from tests.support.blocking import until_any_blocked
from tests.support.content import queued_articles, until_left
from tests.support.databases import Database, Server
from tests.support.waiting import until


@pytest.fixture
async def other(server: Server, template: str) -> AsyncIterator[Database]:
    """A second migrated database."""
    async with server.new_database(template) as made:
        yield made


@asynccontextmanager
async def switching(
    database: Database, file: Path, text: str, size: tuple[int, int] = (100, 30)
) -> AsyncIterator[ConsolePilot]:
    """A console on a database with others written down."""
    file.write_text(text, encoding="utf-8")  # noqa: ASYNC240 - a few bytes, and nothing else runs yet
    options = Options(OPERATOR, profiles=load_profiles(file))
    app = Console(database.settings, Profile(), options)
    async with app.run_test(size=size, notifications=True, tooltips=True) as pilot:
        await until(lambda: app.desk.session.store.overview is not None)
        yield pilot


def session_place(pilot: ConsolePilot) -> str:
    assert isinstance(pilot.app, Console)
    return pilot.app.desk.session.link.place


async def choose(pilot: ConsolePilot, *, down: int) -> None:
    """Choose a database of the list, counted from the one that is looked at."""
    before = session_place(pilot)
    await pilot.press("ctrl+o")
    await until_text(pilot, "Databases")
    await pilot.press(*["down" if down > 0 else "up"] * abs(down), "enter")
    await until_shown(pilot, lambda screen: session_place(pilot) != before)


async def test_nothing_of_the_database_before_is_shown_on_any_screen(
    database: Database, other: Database, tmp_path: Path
) -> None:
    await queued_articles(await database.connect(), 3, slug="first")
    await queued_articles(await other.connect(), 5, slug="second")
    text = f"""[profiles.two]
    environment = "production"
    database_url = "{other.url}"
    """
    async with switching(database, tmp_path / "profiles.toml", text) as pilot:
        await pilot.press("8")
        await until_text(pilot, "first-0")
        await pilot.press("2")
        await until_text(pilot, "first-0")
        await choose(pilot, down=1)
        await until_text(pilot, "second-0")
        for key in "128":
            await pilot.press(key)
            assert "first-" not in shown(pilot)
            await until_text(pilot, "second-0" if key != "1" else "5 pending")
            assert "first-" not in shown(pilot)
            assert "PRODUCTION" in shown(pilot)


async def test_an_answer_of_the_database_before_that_comes_late_is_dropped(
    database: Database, other: Database, tmp_path: Path
) -> None:
    held, looking = await database.connect(), await database.connect()
    await queued_articles(held, 3, slug="first")
    await queued_articles(await other.connect(), 5, slug="second")
    text = f'[profiles.two]\ndatabase_url = "{other.url}"\n'
    async with switching(database, tmp_path / "profiles.toml", text) as pilot:
        async with held.transaction():
            await held.execute("LOCK TABLE embedding_tasks IN ACCESS EXCLUSIVE MODE")
            await pilot.press("2")  # its question waits for the lock
            await until_any_blocked(looking)
            await choose(pilot, down=1)
            await until_text(pilot, "second-0")
        await until_left(looking)
        await pilot.pause()
        assert "first-" not in shown(pilot)
        assert isinstance(pilot.app, Console)
        assert pilot.app.desk.session.store.overview is not None
        assert pilot.app.desk.session.store.overview.queue.counts.pending == 5


async def test_a_database_that_cannot_be_reached_is_lost_and_one_can_go_back(
    database: Database, tmp_path: Path
) -> None:
    await queued_articles(await database.connect(), 3, slug="first")
    text = """[profiles.broken]
    env_file = "nowhere.env"
    [profiles.gone]
    database_url = "postgresql://ada:hidden-word@127.0.0.1:1/nothing"
    read_only = true
    """
    async with switching(database, tmp_path / "profiles.toml", text) as pilot:
        app = pilot.app
        assert isinstance(app, Console)
        await pilot.press("2")
        await until_text(pilot, "first-0")
        await choose(pilot, down=2)
        await until(lambda: app.desk.session.store.lost is not None)
        await until_text(pilot, "127.0.0.1:1/nothing")
        assert "first-" not in shown(pilot)
        assert app.desk.session.read_only
        await pilot.press("ctrl+o")
        await until_text(pilot, "Databases")
        assert "hidden-word" not in shown(pilot)
        await pilot.press("up", "enter")  # one that cannot be chosen says why, and the list stays
        await until_text(pilot, "no such file")
        assert app.desk.session.store.lost is not None
        await pilot.press("up", "enter")
        await until_text(pilot, "first-0")
        assert not app.desk.session.read_only


async def test_the_database_stays_while_a_worker_of_the_console_runs(
    database: Database, other: Database, tmp_path: Path
) -> None:
    text = f'[profiles.two]\ndatabase_url = "{other.url}"\n'
    async with switching(database, tmp_path / "profiles.toml", text) as pilot:
        app = pilot.app
        assert isinstance(app, Console)
        await app.desk.supervisor.start()
        place = session_place(pilot)
        await pilot.press("ctrl+o")
        await until_text(pilot, "Databases")
        await pilot.press("down", "enter")
        await until(lambda: not isinstance(app.screen, Dialog))
        await pilot.pause()
        assert session_place(pilot) == place
        await app.desk.supervisor.force()
