"""Makes the pictures in this folder: the real console on the demo's articles, with something going on.

make screenshots
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from functools import partial
from pathlib import Path

from textual.pilot import Pilot

from embedq_tui.app import Console, Options
from embedq_tui.profiles import Profile
from embedq_tui.supervisor.types import WorkerOptions
from embedq_worker import migrations
from embedq_worker.articles import ImportOptions, store_articles
from embedq_worker.configuration import load_settings
from embedq_worker.database import connected
from embedq_worker.demo_traffic import keep_busy
from embedq_worker.embedded import embedded_server
from embedq_worker.reference_corpus import python_topics
from embedq_worker.settings import DEFAULT_MODELS, Settings

HERE = Path(__file__).parent
BUSY_S = 150
"""So long is worked before the pictures are taken: plots need some minutes to show anything."""

BY = "operator@console"
PICTURES = (
    ("overview", ("1",)),
    ("tasks", ("2",)),
    ("task", ("enter",)),
    ("stuck", ("escape", "3")),
    ("failures", ("4",)),
    ("retry", ("r",)),
    ("workers", ("escape", "5")),
    ("audit", ("6",)),
    ("metrics", ("7",)),
    ("articles", ("8",)),
    ("settings", ("9",)),
    ("help", ("1", "question_mark")),
)
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def main() -> None:
    """Make them all."""
    os.environ["COLORTERM"] = "truecolor"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # root's server runs as somebody else
        asyncio.run(_make(Path(folder)))


async def _make(folder: Path) -> None:
    model, dimensions = DEFAULT_MODELS["local"]
    with embedded_server(folder / "database") as server:
        settings = load_settings(
            database_url=server.url, provider="local", model_name=model, dimensions_wanted=dimensions
        )
        await _prepare(settings)
        await _take(settings, (120, 36), PICTURES, wait_s=BUSY_S)
        await _take(settings, (80, 24), (("overview-80x24", ("1",)),), wait_s=20)


async def _prepare(settings: Settings) -> None:
    await migrations.up(settings)
    async with connected(settings) as connection:
        async for _ in store_articles(connection, python_topics(), ImportOptions(BY, settings.max_retries)):
            pass


async def _take(
    settings: Settings,
    size: tuple[int, int],
    pictures: tuple[tuple[str, tuple[str, ...]], ...],
    *,
    wait_s: float,
) -> None:
    options = Options(
        BY, worker=WorkerOptions(concurrency=2, batch_size=4), companion=partial(keep_busy, settings, BY)
    )
    app = Console(settings, Profile(environment="demo"), options)
    async with app.run_test(size=size, notifications=True) as pilot:
        await asyncio.sleep(wait_s)
        for name, keys in pictures:
            await _press(pilot, keys)
            picture = app.export_screenshot(title=f"embedq: {name}")
            # Fonts of the reader's own machine: a picture loads nothing from elsewhere.
            (HERE / f"{name}.svg").write_text(_FONTS.sub("", picture), encoding="utf-8")
        await app.supervisor.stop()


async def _press(pilot: Pilot[int], keys: tuple[str, ...]) -> None:
    await pilot.press(*keys)
    await asyncio.sleep(3.0)  # for what the screen asks
    await pilot.pause()


if __name__ == "__main__":
    main()
