"""`embedq-tui demo` on a server that somebody named."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

from embedq_worker.errors import ExitCode
from tests.commands.running import Tui
from tests.support.terminal import terminal


async def test_its_worker_has_the_settings_of_the_command(bare_tui: Tui, tmp_path: Path) -> None:
    url = urlsplit(bare_tui.variables.pop("DATABASE_URL"))
    file = tmp_path / "settings"
    file.write_text(
        f"DB_HOST={url.hostname}\nDB_PORT={url.port}\nDB_USER={url.username}\nDB_PASSWORD={url.password}\n"
        f"DB_NAME={url.path.removeprefix('/')}\n"
    )
    answer = await bare_tui("demo", "--headless", "--yes", "--env-file", file, "--json")
    assert answer.code == ExitCode.OK, answer.err


async def test_its_console_ends_with_a_signal_as_any_console(bare_tui: Tui) -> None:
    async with terminal(["-m", "embedq_tui", "demo", "--yes"], bare_tui.variables, columns=100) as program:
        await program.until(lambda text: "live" in text and "pending" in text, within_s=60)
        os.kill(program.process.pid, signal.SIGTERM)
        assert await program.ended() == 128 + signal.SIGTERM
