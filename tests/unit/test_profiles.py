"""Databases by name: what the file may say, and that nothing secret of it is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from embedq_tui.filters.saved_filters import load_filters
from embedq_tui.profiles import Profile, load_profiles
from embedq_worker.errors import SettingsError

SECRET = "top:secret/word"


def written(folder: Path, text: str) -> Path:
    path = folder / "profiles.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_profiles_are_found_by_name_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        [profiles.live]
        environment = "Production"
        database_url = "postgresql://ada:word@db.example:6543/articles"
        read_only = true
        [profiles.test]
        environment = "test"
        colour = "magenta"
        database_url = "postgresql://db.example/test"
        """,
    )
    found = load_profiles(path)
    assert list(found.by_name) == ["live", "test"]
    live = found.find("live")
    assert live.read_only
    assert not found.find("test").read_only
    assert live.settings().place == "db.example:6543/articles"
    with pytest.raises(SettingsError, match="live, test"):
        found.find("staging")


@pytest.mark.parametrize(
    ("environment", "colour", "badge"),
    [
        ("production", "", "red"),
        ("PROD-eu", "", "red"),
        ("staging", "", "yellow"),
        ("test", "", "green"),
        ("", "", "green"),
        ("production", "blue", "blue"),
    ],
)
def test_the_badge_warns_of_production(environment: str, colour: str, badge: str) -> None:
    assert Profile(environment=environment, colour=colour).badge_colour == badge
    assert Profile(name=environment, colour=colour).badge_colour == badge


def test_settings_come_from_the_file_of_the_profile(tmp_path: Path) -> None:
    (tmp_path / "live.env").write_text("DATABASE_URL=postgresql://db.example/live\nCHUNK_SIZE=300\n")
    path = written(tmp_path, '[profiles.live]\nenv_file = "live.env"\n')
    settings = load_profiles(path).find("live").settings()
    assert (settings.place, settings.chunk_size) == ("db.example/live", 300)
    assert load_profiles(path).find("live").settings(chunk_size=400).chunk_size == 400


def test_no_file_is_no_profiles(tmp_path: Path) -> None:
    assert not load_profiles(tmp_path / "profiles.toml").by_name


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[profiles.live\n", "line 1"),
        ("profiles = 3\n", "profiles.NAME"),
        ('[live]\nread_only = true\ndatabase_url = "{url}"\n', "live"),
        ('[key]\n"app.quit" = "ctrl+x"\n', "key"),
        ("[profiles]\nlive = 3\n", "live"),
        ('[profiles.live]\nread_onyl = true\ndatabase_url = "{url}"\n', "read_onyl"),
        ('[profiles.live]\nread_only = "{url}"\n', "read_only"),
        ('[profiles.live]\ncolour = "pink"\ndatabase_url = "{url}"\n', "colour"),
        ('[profiles.live]\nenvironment = "{url}"\n', "environment"),
        ('[profiles.live]\ndatabase_url = ["{url}"]\n', "database_url"),
        ('[profiles.live]\ndatabase_url = "{url}\n', "line 2"),
    ],
)
def test_what_is_wrong_is_told_without_the_secret_in_it(tmp_path: Path, text: str, told: str) -> None:
    url = f"postgresql://ada:{SECRET}@db.example/a"
    path = written(tmp_path, text.replace("{url}", url))
    with pytest.raises(SettingsError) as caught:
        load_profiles(path)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_url_that_cannot_be_used_is_not_told(tmp_path: Path) -> None:
    path = written(tmp_path, f'[profiles.live]\ndatabase_url = "postgresql://ada:{SECRET}@db.example/a"\n')
    profile = load_profiles(path).find("live")
    with pytest.raises(SettingsError) as caught:
        profile.settings()
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(profile)


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    for name in ("HOME", "XDG_CONFIG_HOME", "EMBEDQ_PROFILES"):
        monkeypatch.delenv(name, raising=False)
    for read in (load_profiles, load_filters):
        with pytest.raises(SettingsError):
            read()


@pytest.mark.parametrize("read", [load_profiles, load_filters])
def test_what_cannot_be_read_is_told(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(SettingsError):
        read(tmp_path)  # a folder


def test_a_file_of_settings_in_the_home_of_nobody_is_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        load_profiles(written(tmp_path, '[profiles.live]\nenv_file = "~nobody-of-this-name/.env"\n'))
