"""Settings as operators give them: environment, file, flags; what wins, what is refused, what is shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from embedq_worker.configuration.loading import SettingRow, describe_settings, load_settings, spellings_of
from embedq_worker.configuration.settings import Settings
from tests.support.refused_settings import refusal
from tests.support.settings_table import table

REPOSITORY = Path(__file__).parents[2]

# By hand from the design: (field, spellings, default as shown, a good value, what the field then is,
# values that are refused).
TABLE: list[tuple[str, list[str], str, str, object, list[str]]] = [
    ("semantic_search_enabled", ["SEMANTIC_SEARCH_ENABLED"], "true", "false", False, ["maybe", "2"]),
    ("provider", ["EMBEDDING_PROVIDER"], "ollama", "OpenAI", "openai", ["azure"]),
    (
        "ollama_base_url",
        ["OLLAMA_BASE_URL"],
        "http://localhost:11434",
        "http://gpu:1/",
        "http://gpu:1",
        ["gpu:11434", "ftp://gpu", "http://", "http://gpu:port", "http://gpu:65536", "http://[::1"],
    ),
    (
        "openai_base_url",
        ["OPENAI_BASE_URL"],
        "https://api.openai.com/v1",
        "https://llm.example/proxy/v1",
        "https://llm.example/proxy/v1",
        ["/v1", "localhost", "http://a,b/v1", "http://u:p@h@i/#x"],
    ),
    ("model_name", ["EMBEDDING_MODEL"], "nomic-embed-text", " mxbai ", "mxbai", ["x" * 201]),
    ("dimensions_wanted", ["EMBEDDING_DIMENSIONS"], "768", "1024", 1024, ["0", "16001", "x", "1.5"]),
    ("queue_enabled", ["EMBEDDING_QUEUE_ENABLED"], "true", "no", False, ["maybe"]),
    (
        "worker_interval_ms",
        ["EMBEDDING_WORKER_INTERVAL", "EMBEDDING_QUEUE_WORKER_INTERVAL"],
        "5000",
        "250",
        250,
        ["0", "-1", "5s"],
    ),
    ("max_retries", ["EMBEDDING_MAX_RETRIES", "EMBEDDING_QUEUE_MAX_RETRIES"], "3", "5", 5, ["0", "1001"]),
    (
        "retry_backoff_base_ms",
        ["EMBEDDING_RETRY_BACKOFF_BASE", "EMBEDDING_QUEUE_RETRY_BACKOFF_BASE"],
        "1000",
        "2000",
        2000,
        ["0", "x"],
    ),
    (
        "batch_size",
        ["EMBEDDING_BATCH_SIZE", "EMBEDDING_QUEUE_BATCH_SIZE"],
        "1",
        "20",
        20,
        ["abc", "0", "1001"],
    ),
    (
        "cleanup_interval_h",
        ["EMBEDDING_CLEANUP_INTERVAL", "EMBEDDING_QUEUE_CLEANUP_INTERVAL"],
        "24.0",
        "0.5",
        0.5,
        ["0", "nan", "inf"],
    ),
    (
        "cleanup_retention_days",
        ["EMBEDDING_CLEANUP_RETENTION_DAYS", "EMBEDDING_QUEUE_CLEANUP_RETENTION_DAYS"],
        "30",
        "7",
        7,
        ["0", "-3"],
    ),
    ("worker_timeout_ms", ["EMBEDDING_WORKER_TIMEOUT"], "300000", "90000", 90_000, ["0"]),
    ("concurrency", ["EMBEDDING_CONCURRENT_WORKERS"], "1", "8", 8, ["0", "257"]),
    ("chunk_size", ["CHUNK_SIZE"], "500", "300", 300, ["9", "20001"]),
    ("chunk_overlap", ["CHUNK_OVERLAP"], "50", "0", 0, ["-1", "10001"]),
    ("heartbeat_interval_ms", ["EMBEDDING_QUEUE_HEARTBEAT_INTERVAL"], "30000", "5000", 5000, ["0"]),
    ("metrics_interval_ms", ["EMBEDDING_QUEUE_METRICS_INTERVAL"], "60000", "10000", 10_000, ["0"]),
    (
        "max_processing_time_ms",
        ["EMBEDDING_QUEUE_MAX_PROCESSING_TIME"],
        "1800000",
        "600000",
        600_000,
        ["0"],
    ),
    (
        "stuck_cleanup_enabled",
        ["EMBEDDING_QUEUE_STUCK_TASK_CLEANUP_ENABLED"],
        "true",
        "off",
        False,
        ["maybe"],
    ),
    ("db_host", ["DB_HOST"], "-", "db.example", "db.example", ["a..b", "x" * 64]),
    ("db_port", ["DB_PORT"], "-", "6432", 6432, ["0", "65536", "x"]),
    ("db_name", ["DB_NAME"], "-", "articles", "articles", []),
    ("db_user", ["DB_USER"], "-", "embedq", "embedq", []),
    ("db_ssl", ["DB_SSL"], "-", "true", "require", ["maybe"]),
    ("pg_host", ["PGHOST"], "-", "/run/postgresql", "/run/postgresql", []),
    ("pg_port", ["PGPORT"], "-", "6432", 6432, ["x"]),
    ("pg_database", ["PGDATABASE"], "-", "articles", "articles", []),
    ("pg_user", ["PGUSER"], "-", "embedq", "embedq", []),
    ("pg_sslmode", ["PGSSLMODE"], "-", "verify-full", "verify-full", ["maybe"]),
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def env_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.env"
    path.write_text(text, encoding="utf-8")
    return path


def row(settings: Settings, name: str, file: Path | None = None) -> SettingRow:
    return next(row for row in describe_settings(settings, file) if name in row.spellings)


# -- every variable


def test_the_table_of_this_test_and_the_settings_agree_about_every_variable_of_the_design() -> None:
    known = {field: list(spellings_of(Settings.model_fields[field])) for field, *_ in TABLE}
    assert known == {field: spellings for field, spellings, *_ in TABLE}


@pytest.mark.parametrize(("field", "spellings", "default", "given", "value", "bad"), TABLE)
def test_a_variable_is_read_in_each_spelling_and_refused_by_the_name_it_was_given(
    field: str,
    spellings: list[str],
    default: str,
    given: str,
    value: object,
    bad: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    described = row(load_settings(), spellings[0])
    assert (described.value, described.source) == (default, "default")
    assert described.description
    assert described.range
    for name in spellings:
        file = env_file(tmp_path, f"{name}={given}\n")
        assert getattr(load_settings(file), field) == value
        assert row(load_settings(file), name, file).source == f"{file.name}: {name}"
        monkeypatch.setenv(name, given)
        assert getattr(load_settings(), field) == value
        assert row(load_settings(), name).source == name
        for wrong in bad:
            monkeypatch.setenv(name, wrong)
            assert re.match(rf"{name}\b", refusal())
        monkeypatch.delenv(name)
        for wrong in bad:
            assert re.match(rf"{name}\b", refusal(env_file(tmp_path, f"{name}='{wrong}'\n")))


def test_a_refusal_tells_value_and_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDING_QUEUE_BATCH_SIZE", "abc")
    assert {"EMBEDDING_QUEUE_BATCH_SIZE=abc:", "(1..1000)"} <= set(refusal().split())


def test_a_value_that_is_refused_cannot_spoil_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDING_BATCH_SIZE", "\x1b[2J\nnext" + "x" * 5_000)
    told = refusal()
    assert "\x1b" not in told
    assert len(told) < 500


def test_an_address_of_blanks_does_not_open_the_metrics_port_to_everybody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EMBEDDING_METRICS_HOST", " ")
    assert load_settings().metrics_host == "127.0.0.1"
    assert "EMBEDDING_METRICS_HOST" in refusal(metrics_host=" ")


# -- what wins


def test_the_environment_wins_over_the_file_in_whatever_spelling(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ("EMBEDDING_BATCH_SIZE", "EMBEDDING_QUEUE_BATCH_SIZE")
    for environment, other in (names, names[::-1]):
        file = env_file(tmp_path, f"{other}=3\n")
        monkeypatch.setenv(environment, "7")
        settings = load_settings(file)
        assert settings.batch_size == 7
        assert row(settings, names[0], file).source == environment
        monkeypatch.delenv(environment)


def test_the_documented_spelling_wins_over_the_other_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = env_file(tmp_path, "EMBEDDING_QUEUE_BATCH_SIZE=2\nEMBEDDING_BATCH_SIZE=3\n")
    assert load_settings(file).batch_size == 3
    monkeypatch.setenv("EMBEDDING_QUEUE_BATCH_SIZE", "4")
    monkeypatch.setenv("EMBEDDING_BATCH_SIZE", "5")
    assert load_settings(file).batch_size == 5


def test_a_value_is_told_to_be_of_the_file_that_was_named(tmp_path: Path) -> None:
    file = tmp_path / "production.env"
    file.write_text("EMBEDDING_BATCH_SIZE=2\n", encoding="utf-8")
    found = row(load_settings(file), "EMBEDDING_BATCH_SIZE", file)
    assert found.source == "production.env: EMBEDDING_BATCH_SIZE"


@pytest.mark.parametrize("nothing", ["", "  ", " \t "])
def test_an_empty_value_is_no_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nothing: str) -> None:
    file = env_file(
        tmp_path, f"EMBEDDING_BATCH_SIZE='{nothing}'\nEMBEDDING_QUEUE_BATCH_SIZE=2\nLOG_LEVEL=warn\n"
    )
    monkeypatch.setenv("EMBEDDING_BATCH_SIZE", nothing)
    monkeypatch.setenv("LOG_LEVEL", nothing)
    settings = load_settings(file)
    assert (settings.batch_size, settings.log_level) == (2, "warn")
    assert row(settings, "EMBEDDING_BATCH_SIZE", file).source == f"{file.name}: EMBEDDING_QUEUE_BATCH_SIZE"
    assert row(settings, "LOG_LEVEL", file).source == f"{file.name}: LOG_LEVEL"
    assert not [line for line in settings.warnings() if "EMBEDDING_BATCH_SIZE" in line]
    monkeypatch.setenv("EMBEDDING_MODEL", "   ")
    assert load_settings().model == "nomic-embed-text"
    for name in ("OPENAI_API_KEY", "DB_HOST"):
        monkeypatch.setenv(name, "   ")
        shown = row(load_settings(), name)
        assert (shown.value, shown.source) == ("-", "default")


def test_a_flag_wins_over_everything_and_is_named_as_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    assert row(load_settings(batch_size=9), "EMBEDDING_BATCH_SIZE").source == "command line"
    assert load_settings(batch_size=None).batch_size == 1
    monkeypatch.setenv("EMBEDDING_QUEUE_BATCH_SIZE", "7")
    assert load_settings(batch_size=9).batch_size == 9
    assert "EMBEDDING_BATCH_SIZE=0" in refusal(batch_size=0)


def test_a_file_named_env_in_the_working_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("\ufeffEMBEDDING_BATCH_SIZE=4 # four\nexport CHUNK_SIZE='600'\n", "utf-8")
    settings = load_settings()
    assert (settings.batch_size, settings.chunk_size) == (4, 600)


def test_a_file_that_cannot_be_read_is_told_in_a_line(tmp_path: Path) -> None:
    assert "missing.env" in refusal(tmp_path / "missing.env")
    latin = tmp_path / "latin.env"
    latin.write_bytes("DB_USER=jürgen".encode("latin-1"))
    assert "latin.env" in refusal(latin)


# -- cross checks


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHUNK_SIZE", "50"),
        ("CHUNK_OVERLAP", "500"),
        ("EMBEDDING_RETRY_BACKOFF_MAX", "999"),
        ("EMBEDDING_QUEUE_MAX_PROCESSING_TIME", "299999"),
    ],
)
def test_values_that_exclude_each_other_are_refused_by_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert name in refusal()


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"EMBEDDING_PROVIDER": "openai"}, "OPENAI_API_KEY"),
        ({"EMBEDDING_DIMENSIONS": "1024"}, "EMBEDDING_DIMENSIONS"),
        ({"CHUNK_OVERLAP": "300"}, "CHUNK_OVERLAP"),
        ({"EMBEDDING_CONCURRENT_WORKERS": "64"}, "EMBEDDING_CONCURRENT_WORKERS"),
        ({"EMBEDDING_REQUEST_TIMEOUT": "225001"}, "EMBEDDING_REQUEST_TIMEOUT"),
        ({"DATABASE_URL": "postgresql://h/d", "DB_SSL": "true"}, "DB_SSL"),
    ],
)
def test_what_is_probably_not_meant_is_warned_of(
    variables: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings().warnings() == []
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert [named in warning for warning in load_settings().warnings()] == [True]


@pytest.mark.parametrize(
    "variables",
    [
        {"EMBEDDING_PROVIDER": "local", "EMBEDDING_DIMENSIONS": "128"},
        {"EMBEDDING_REQUEST_TIMEOUT": "225000"},
        {"EMBEDDING_WORKER_TIMEOUT": "60000"},  # a worker shortens the default of the other
    ],
)
def test_what_works_as_it_is_set_is_not_warned_of(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert load_settings().warnings() == []


def test_a_request_outlasts_the_loading_of_a_large_model() -> None:
    # Ollama begins again with the next request, so a model that takes longer would never be loaded.
    assert load_settings().request_timeout_ms >= 2 * 90_000


@pytest.mark.parametrize(("other", "warned"), [("5", 1), ("7", 0)])
def test_a_spelling_that_has_no_effect_is_warned_of(
    other: str, warned: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["EMBEDDING_BATCH_SIZE", "EMBEDDING_QUEUE_BATCH_SIZE"]
    file = tmp_path / "both.env"
    file.write_text(f"{names[1]}={other}\n{names[0]}=7\n")
    settings = load_settings(file)
    assert settings.batch_size == 7
    assert [all(name in warning for name in names) for warning in settings.warnings()] == [True] * warned
    monkeypatch.setenv(names[1], "9")  # of another place, which wins as a whole
    assert load_settings(file).batch_size == 9
    assert load_settings(file).warnings() == []


def test_lines_that_nobody_can_read_are_named(tmp_path: Path) -> None:
    file = tmp_path / "odd.env"
    file.write_text(
        'CHUNK_SIZE: 200\nEMBEDDING_BATCH_SIZE=7\nOPENAI_API_KEY="sk-geheim\n# fine\nexport A=1\n'
        "\nEMBEDDING_MODEL\nB=\n"
    )
    settings = load_settings(file)
    assert settings.batch_size == 7
    [warning] = settings.warnings()
    assert re.findall(r"\d+", warning) == ["1", "3", "7"]
    assert file.name in warning
    assert "geheim" not in warning


@pytest.mark.parametrize(
    ("provider", "model", "dimensions"),
    [
        ("ollama", "nomic-embed-text", 768),
        ("openai", "text-embedding-3-small", 1536),
        ("local", "l2_supercat", 256),
    ],
)
def test_model_and_dimensions_follow_the_provider(
    provider: str, model: str, dimensions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDDING_PROVIDER", provider)
    settings = load_settings()
    assert (settings.model, settings.dimensions) == (model, dimensions)
    assert row(settings, "EMBEDDING_MODEL").value == model
    assert row(settings, "EMBEDDING_DIMENSIONS").value == str(dimensions)


# -- the page of the documentation


def test_the_documentation_lists_every_variable_as_the_program_does() -> None:
    assert table() in (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
