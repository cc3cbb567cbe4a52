"""Whatever stands in the environment or in .env: settings, or one clear error; never a secret in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from embedq_worker.configuration.loading import NO_FILE, describe_settings, environment_of, load_settings
from embedq_worker.configuration.settings import Settings
from embedq_worker.errors import SettingsError
from embedq_worker.text import printable
from tests.support.settings_table import variables

CANARY = "geheim-7f3a"
NAMES = sorted(variables())
SECRET = sorted(name for name in NAMES if "KEY" in name or "PASSWORD" in name or name.endswith("_URL"))
WORDS = st.sampled_from([
    "", " ", "0", "-1", "1", "5", "1.5", "1e999", "nan", "inf", "9" * 5_000, "true", "no", "maybe", "null",
    "[]", "{}", "0x10", "1_000", "\uff11\uff12", "http://", "http://[::1", "http://u:p@h:99999/",
    "postgresql://", "postgres://h/d?x", "postgresql://u:p@h:1,i:2/d?sslmode=require", "postgresql://%ZZ:%@h/%",
    "openai", "OPENAI", "debug", "require", "//", "\\", "'", '"', "$HOME", "${HOME}", "#", "a=b", "\u202e",
    "\x1b[31m", "x" * 10_000,
])  # fmt: skip
VALUES = st.one_of(WORDS, st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40))
SECRETS = st.tuples(
    st.sampled_from(
        ["{}", "http://u:{}@h", "postgresql://u:{}@h/d", "postgresql://u:{}/@h", "//{}@", "{}\x1b", "h?k={}"]
    ),
    st.just(CANARY),
).map(lambda parts: parts[0].format(parts[1]))


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """These variables and no other of ours."""
    before = dict(os.environ)
    for name in NAMES:
        os.environ.pop(name, None)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def loaded(path: Path) -> Settings | SettingsError:
    """What becomes of an environment."""
    try:
        return load_settings(path)
    except SettingsError as error:
        return error


def judge(path: Path) -> None:
    """Load settings and do with them all that needs no network."""
    found = loaded(path)
    if isinstance(found, SettingsError):
        assert 1 <= len(str(found).splitlines()) <= 2
        assert CANARY not in str(found)
        assert printable(str(found)) == str(found)
        assert len(found.message) < 600
        return
    told = [
        repr(found), str(found), found.place, *found.warnings(),
        *(f"{row.value} {row.told} {row.source}" for row in describe_settings(found)),
    ]  # fmt: skip
    assert CANARY not in "\n".join(told)
    found.connect_arguments()
    with environment(environment_of(found, {})):
        assert load_settings(NO_FILE).model_dump() == found.model_dump()


@settings(max_examples=150)
@given(
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6),
    st.dictionaries(st.sampled_from(SECRET), SECRETS, max_size=3),
)
def test_any_environment_is_settings_or_one_clear_error(
    values: dict[str, str], secrets: dict[str, str]
) -> None:
    with environment(values | secrets):
        judge(NO_FILE)


@settings(max_examples=100)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from([*NAMES, "", "export X", "#", "="]), VALUES),
            st.tuples(st.sampled_from(SECRET), SECRETS),
        ),
        max_size=6,
    ),
    st.binary(max_size=20),
)
def test_any_file_is_settings_or_one_clear_error(lines: list[tuple[str, str]], tail: bytes) -> None:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"embedq-fuzz-{os.getpid()}.env"
    text = "\n".join(f"{name}={value}" for name, value in lines)
    path.write_bytes(text.encode("utf-8", "replace") + b"\n" + tail)
    try:
        with environment({}):
            judge(path)
    finally:
        path.unlink()


def test_every_setting_is_tried() -> None:
    assert len(NAMES) > len(Settings.model_fields)
