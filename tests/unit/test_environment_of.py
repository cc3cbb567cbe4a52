"""Settings handed on to another program: what it reads is what was meant, whatever else is around."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedq_worker.configuration.loading import NO_FILE, environment_of, load_settings, spellings_of
from embedq_worker.configuration.settings import Settings

UNUSUAL = {
    "DATABASE_URL": "postgresql://me:ge%20heim@db.test:6543/x?sslmode=require",
    "EMBEDDING_PROVIDER": "openai",
    "OPENAI_API_KEY": "sk-geheim",
    "EMBEDDING_QUEUE_ENABLED": "false",
    "EMBEDDING_CLEANUP_INTERVAL": "0.5",
    "EMBEDDING_QUEUE_BATCH_SIZE": "17",
    "EMBEDDING_METRICS_PORT": "0",
    "PGHOST": "/run/postgresql",
    "DB_PASSWORD": "se cret",
    "DB_SSL": "true",
}


def test_settings_survive_the_way_through_an_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in UNUSUAL.items():
        monkeypatch.setenv(name, value)
    given = load_settings(NO_FILE)
    handed_on = environment_of(given, {})
    for name in UNUSUAL:
        monkeypatch.delenv(name)
    for name, value in handed_on.items():
        monkeypatch.setenv(name, value)
    assert load_settings(NO_FILE) == given
    assert given.batch_size == 17


def test_what_is_around_does_not_get_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    given = load_settings(NO_FILE)
    around = {
        "PATH": "/bin",
        "embedding_queue_batch_size": "99",
        "DB_HOST": "elsewhere",
        "OPENAI_API_KEY": "x",
    }
    handed_on = environment_of(given, around)
    assert handed_on["PATH"] == "/bin"
    names = {name for field in Settings.model_fields.values() for name in spellings_of(field)}
    assert not {"embedding_queue_batch_size", "DB_HOST", "OPENAI_API_KEY"} & set(handed_on)
    assert handed_on.keys() <= names | {"PATH"}
    (tmp_path / ".env").write_text("EMBEDDING_BATCH_SIZE=3\n")
    assert load_settings(NO_FILE) == given
    assert load_settings().batch_size == 3
