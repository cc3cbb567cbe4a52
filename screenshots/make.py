"""Makes the pictures in this folder: the real console on the demo's articles, with something going on.

make screenshots                      all of them
make screenshots ARGS=recording       one; overview-80x24, or all of the others together (pictures), likewise
make screenshots ARGS="--minutes 60"  after so long a time of work, which fills the plots
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from textual.pilot import Pilot

from embedq_tui.console.app import Console
from embedq_tui.desk import Options
from embedq_tui.profiles import Profile
from embedq_tui.rendering.picture import settled
from embedq_worker.configuration.loading import load_settings
from embedq_worker.configuration.settings import DEFAULT_MODELS, Settings
from embedq_worker.content.articles import ImportOptions, store_articles
from embedq_worker.content.demo_traffic import keep_busy
from embedq_worker.content.reference_corpus import python_topics
from embedq_worker.database.connections import connected
from embedq_worker.embedded import embedded_server
from embedq_worker.schema import migrations
from screenshots.film import Frame, film

HERE = Path(__file__).parent
BY = "operator@console"
PICTURES = (
    ("overview", ("1",)),
    ("tasks", ("2",)),
    ("failures", ("4",)),
    ("retry", ("r",)),
    ("task", ("escape", "enter", "enter", *("tab",) * 3)),
    ("workers", ("5",)),
    ("audit", ("6",)),
    ("metrics", ("7",)),
    ("articles", ("8",)),
    ("settings", ("9",)),
    ("help", ("1", "question_mark")),
)
FROZEN = """
WITH frozen AS (
    INSERT INTO embedq_workers (id, host, pid, host_key, version, provider, settings, state, heartbeat_at)
    SELECT embedq_uuid(), 'build-7', 4711, 'build-7', version, provider, settings, state,
           now() - interval '80 s'
    FROM embedq_workers WHERE state = 'running' RETURNING id, heartbeat_at)
UPDATE embedding_tasks t
SET status = 'processing', worker_id = f.id, claimed_at = f.heartbeat_at, processed_at = f.heartbeat_at,
    completed_at = NULL
FROM frozen f
WHERE t.id IN (SELECT id FROM embedding_tasks WHERE status = 'completed' ORDER BY completed_at DESC LIMIT 12)
"""
"""A second worker, on another host, that froze with a batch in its hands."""

FILM: tuple[tuple[tuple[str, ...], float], ...] = (
    (("1",), 3),
    (("2",), 2.5),
    (("4",), 3),
    (("r",), 3),
    (("y",), 2.5),
    (("5",), 3),
    (("7",), 3),
)
"""Keys, and for how many seconds what they lead to is shown: from what fails to its retry."""


def main() -> None:
    """Make them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("wanted", nargs="*", help="names; none for all")
    parser.add_argument("--minutes", type=float, default=2.5, help="of work before the first is taken")
    given = parser.parse_args()
    wanted = given.wanted or ["pictures", "overview-80x24", "recording"]
    os.environ["COLORTERM"] = "truecolor"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # root's server runs as somebody else
        asyncio.run(_make(Path(folder), wanted, given.minutes * 60))


async def _make(folder: Path, wanted: list[str], busy_s: float) -> None:
    model, dimensions = DEFAULT_MODELS["local"]
    with embedded_server(folder / "database") as server:
        settings = load_settings(
            database_url=server.url, provider="local", model_name=model, dimensions_wanted=dimensions
        )
        await _prepare(settings)
        if "pictures" in wanted:
            async with _console(settings, (120, 36), busy_s) as pilot:
                for name, keys in PICTURES:
                    _write(name, await _picture(pilot, name, keys))
                async with connected(settings) as connection:
                    await connection.execute(FROZEN)
                _write("stuck", await _picture(pilot, "stuck", ("escape", "3")))
        if "overview-80x24" in wanted:
            async with _console(settings, (80, 24), 20) as pilot:
                _write("overview-80x24", await _picture(pilot, "overview", ("1",)))
        if "recording" in wanted:
            async with _console(settings, (110, 30), 20 if "pictures" in wanted else busy_s) as pilot:
                frames = [Frame(await _picture(pilot, "", keys), seconds) for keys, seconds in FILM]
            _write("recording", film(frames))


async def _prepare(settings: Settings) -> None:
    await migrations.up(settings)
    async with connected(settings) as connection:
        async for _ in store_articles(connection, python_topics(), ImportOptions(BY, settings.max_retries)):
            pass


@asynccontextmanager
async def _console(settings: Settings, size: tuple[int, int], busy_s: float) -> AsyncIterator[Pilot[int]]:
    """The console, with a worker of its own that has been busy for so many seconds."""
    options = Options(BY, worker=True, companion=partial(keep_busy, settings, BY))
    # Its worker takes nothing back, so that what is stuck stays so for its picture.
    settings = settings.model_copy(update={"concurrency": 2, "batch_size": 4, "stuck_cleanup_enabled": False})
    app = Console(settings, Profile(environment="demo"), options)
    async with app.run_test(size=size, notifications=True) as pilot:
        await asyncio.sleep(busy_s)
        yield pilot
        await app.desk.supervisor.stop()


async def _picture(pilot: Pilot[int], name: str, keys: tuple[str, ...]) -> str:
    await pilot.press(*keys)
    await asyncio.sleep(3.0)  # for what the screen asks
    await pilot.pause()
    return settled(pilot.app.export_screenshot(title=f"embedq: {name}" if name else "embedq"))


def _write(name: str, picture: str) -> None:
    (HERE / f"{name}.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
