"""Secrets among the settings: they are shown nowhere, and in no refusal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from embedq_worker.configuration.loading import describe_settings, load_settings
from tests.support.refused_settings import refusal

SECRETS = ["OPENAI_API_KEY", "DB_PASSWORD", "PGPASSWORD"]
BAD_URLS = [  # each with "geheim" where a secret would be
    "mysql://user:geheim@host/db",
    '"postgresql://user:geheim@host/db"',
    "geheim",
    "host=db password=geheim",
    "postgresql://user:ge#heim-geheim@host/db",
    "postgresql://user:geheim/@host/db",
    "postgresql://user:a?geheim@host/db",
    "postgresql://user:1?geheim@host/db",
    "postgresql://user:geheim@host:54x/db",
    "postgresql://user:geheim@host:65536/db",
    "postgresql://user:[geheim@host/db",
    "postgresql://user:geheim@host/db?sslmode=sometimes",
    "postgresql://user:geheim@a..b/db",
    "postgresql://user:geheim@host,a..b:5432/db",
    "postgresql://user:geheim@/db?host=a..b",
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_secret_of_two_lines_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "geheim\nkey")
    told = refusal()
    assert "OPENAI_API_KEY" in told
    assert "geheim" not in told


def test_a_secret_with_a_nul_is_refused_without_being_shown(tmp_path: Path) -> None:
    file = tmp_path / "nul.env"
    file.write_text("DB_PASSWORD=ge\0heim\n")
    told = refusal(file)
    assert "DB_PASSWORD" in told
    assert "heim" not in told


@pytest.mark.parametrize("name", ["CHUNK_OVERLAP", "EMBEDDING_MODEL"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_quote_that_is_left_open_shows_no_secret_below_it(tmp_path: Path, name: str, end: str) -> None:
    file = tmp_path / "open.env"
    file.write_text(end.join([f"{name}='x", "OPENAI_API_KEY=geheim", "DB_NAME='"]), newline="")
    told = refusal(file)
    assert name in told
    assert "geheim" not in told


def test_no_secret_is_shown_when_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "geheim")
    monkeypatch.setenv("DATABASE_URL", "postgresql://joe:ge%40heim@h:1/db?password=geheim")
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://geheim@gpu:1/v?key=geheim")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://joe:geheim@llm/v1")
    settings = load_settings()
    shown = {row.name: row.value for row in describe_settings(settings)}
    assert not re.search("ge(%40)?heim", repr(settings) + repr(shown) + str(settings.warnings()))
    assert all(shown[name] not in ("", "-") for name in SECRETS)
    assert shown["DATABASE_URL"] == "postgresql://joe:********@h:1/db"
    assert shown["OLLAMA_BASE_URL"] == "http://********@gpu:1/v"
    assert shown["OPENAI_BASE_URL"] == "https://joe:********@llm/v1"


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_bad_url_of_the_database_is_refused_without_being_shown(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    told = refusal()
    assert told.startswith("DATABASE_URL")
    assert "heim" not in told


@pytest.mark.parametrize("name", ["OLLAMA_BASE_URL", "OPENAI_BASE_URL"])
@pytest.mark.parametrize("url", ["ftp://joe:geheim@h", "http://joe:geh/eim@h", "http://h:geheim", "geheim"])
def test_a_bad_url_of_a_provider_is_refused_without_being_shown(
    name: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, url)
    told = refusal()
    assert told.startswith(name)
    assert "eim" not in told
