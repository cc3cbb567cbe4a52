"""`embedq-tui config`, and how settings that cannot be used end a command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from embedq_worker.configuration.settings import Settings
from embedq_worker.errors import ExitCode
from tests.commands.running import Tui


def by_name(document: Any) -> dict[str, Any]:
    return {row["name"]: row for row in document["settings"]}


async def test_every_setting_is_listed_without_secrets(anywhere: Tui) -> None:
    anywhere.variables |= {
        "DATABASE_URL": "postgresql://ann:hunter2@db.example/app?password=hunter2",
        "OPENAI_API_KEY": "sk-hunter2",
        "EMBEDDING_QUEUE_BATCH_SIZE": "7",
    }
    answer = await anywhere("config", "--json")
    assert answer.code == ExitCode.OK
    rows = by_name(answer.document("config"))
    assert len(rows) == len(Settings.model_fields)
    assert (rows["EMBEDDING_BATCH_SIZE"]["value"], rows["EMBEDDING_BATCH_SIZE"]["source"]) == (
        "7",
        "EMBEDDING_QUEUE_BATCH_SIZE",
    )
    assert rows["CHUNK_SIZE"]["source"] == "default"
    text = await anywhere("config")
    assert all(name in text.out for name in rows)
    assert "hunter2" not in answer.out + text.out


async def test_a_file_of_settings(anywhere: Tui, tmp_path: Path) -> None:
    file = tmp_path / "worker.env"
    file.write_text("CHUNK_SIZE=20\nCHUNK_OVERLAP=15\n")
    named = ["--env-file", str(file)]
    for arguments in (["config", "--json", *named], [*named, "config", "--json"]):
        document = (await anywhere(*arguments)).document("config")
        assert by_name(document)["CHUNK_SIZE"]["value"] == "20"
        assert by_name(document)["CHUNK_SIZE"]["source"].endswith("CHUNK_SIZE")
        assert len(document["warnings"]) == 1
    document = (await anywhere("config", "--json", "--env-file", file, CHUNK_SIZE=30)).document("config")
    assert by_name(document)["CHUNK_SIZE"]["value"] == "30"


async def test_what_a_profile_says_is_told_as_its_own(
    anywhere: Tui, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "live.env").write_text("EMBEDDING_BATCH_SIZE=7\n")
    file = tmp_path / "profiles.toml"
    url = "postgresql://live.example/app"
    file.write_text(f'[profiles.live]\ndatabase_url = "{url}"\nread_only = true\nenv_file = "live.env"\n')
    monkeypatch.setenv("EMBEDQ_PROFILES", str(file))
    rows = by_name((await anywhere("config", "--profile", "live", "--json")).document("config"))
    sources = {name: rows[name]["source"] for name in ("DATABASE_URL", "DB_READ_ONLY")}
    assert sources == dict.fromkeys(sources, "profile live")
    assert rows["DATABASE_URL"]["value"] == url
    assert rows["EMBEDDING_BATCH_SIZE"]["source"].endswith(": EMBEDDING_BATCH_SIZE")


@pytest.mark.parametrize(
    ("name", "value"),
    [("EMBEDDING_BATCH_SIZE", "0"), ("CHUNK_OVERLAP", "500"), ("EMBEDDING_QUEUE_MAX_RETRIES", "many")],
)
@pytest.mark.parametrize("command", ["config", "status", "check"])
async def test_a_bad_value_names_its_variable(anywhere: Tui, command: str, name: str, value: str) -> None:
    answer = await anywhere(command, "--json", **{name: value})
    assert (answer.code, answer.out) == (ExitCode.USAGE, "")
    assert name in answer.complaint[0]
    assert len(answer.complaint) <= 2


async def test_a_file_that_is_not_there(anywhere: Tui, tmp_path: Path) -> None:
    answer = await anywhere("config", "--env-file", tmp_path / "no.env")
    assert answer.code == ExitCode.USAGE
    assert "no.env" in answer.err
