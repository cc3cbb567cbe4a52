"""The command palette: the keys of the current screen, the screens, the named databases."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple, Protocol, cast

from textual.binding import ActiveBinding
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.types import IgnoreReturnCallbackType

from embedq_tui.profiles import Profile
from embedq_tui.rendering.keys import key
from embedq_tui.screens import ENTRIES
from embedq_tui.screens.base import Host
from embedq_worker.text import printable_line


class Elsewhere(NamedTuple):
    """An action of one screen that the palette offers on every screen.

    Attributes:
        screen: The mode of that screen.
        action: The action on that screen.
        words: What it does.
    """

    screen: str
    action: str
    words: str


ELSEWHERE = (
    Elsewhere("articles", "import_files", "Import Markdown files as articles"),
    Elsewhere("articles", "backfill", "Backfill: queue what needs embedding"),
    Elsewhere("articles", "search", "Search articles by meaning"),
    Elsewhere("settings", "check", "Check database and provider"),
    Elsewhere("settings", "verify", "Verify counts and embeddings, and repair them"),
    Elsewhere("settings", "trigger", "Install or remove the trigger on articles"),
    Elsewhere("settings", "clean_up", "Clean up: delete data older than a number of days"),
    Elsewhere("workers", "start", "Start this console's worker"),
    Elsewhere("workers", "pause", "Pause or resume all workers"),
    Elsewhere("workers", "stop_all", "Stop or start all workers"),
)


class Commanded(Host, Protocol):
    """The application, as far as the palette knows it."""

    def look_at_profile(self, profile: Profile) -> object:
        """Switch to the database of a profile."""

    def act_on(self, name: str, action: str) -> object:
        """Show a screen, and run one of its actions."""


class Commands(Provider):
    """Everything with a key on the current screen, and every screen."""

    async def discover(self) -> Hits:
        """The commands shown before anything is typed."""
        for name, text, run in self._commands():
            yield DiscoveryHit(name, run, help=text or None)

    async def search(self, query: str) -> Hits:
        """The commands that match what was typed."""
        matcher = self.matcher(query)
        for name, text, run in self._commands():
            if (score := matcher.match(f"{name} {text}")) > 0:
                yield Hit(score, matcher.highlight(name), run, help=text or None)

    def _commands(self) -> Iterator[tuple[str, str, IgnoreReturnCallbackType]]:
        """Name, explanation if any, and callback of every command, those of the current screen first."""
        console = cast(Commanded, self.app)
        yield from self._keys(everywhere=False)
        for entry in ENTRIES:
            yield (
                f"{entry.title} ({key(f'show.{entry.name}')})",
                entry.summary,
                partial(console.action_show, entry.name),
            )
        profiles = console.desk.options.profiles
        for profile in profiles.by_name.values() if profiles is not None else ():
            name = printable_line(profile.name, 40)
            word = f", {printable_line(profile.environment, 20)}" if profile.environment else ""
            yield f"Database {name}", f"Switch to {name}{word}", partial(console.look_at_profile, profile)
        here = {active.binding.action for active in self.screen.active_bindings.values()}
        for one in ELSEWHERE:
            if self.app.current_mode != one.screen or one.action not in here:
                place = f"On the {one.screen.capitalize()} screen"
                yield one.words, place, partial(console.act_on, one.screen, one.action)
        yield from self._keys(everywhere=True)

    def _keys(self, *, everywhere: bool) -> Iterator[tuple[str, str, IgnoreReturnCallbackType]]:
        """What has a key now, either everywhere or only here; keys without an id move about in any list."""
        listed: dict[str, ActiveBinding] = {}
        for active in self.screen.active_bindings.values():
            binding = active.binding
            named = binding.id and binding.description and not binding.system
            other = binding.action == "command_palette" or binding.action.startswith("show(")
            if named and not other and active.enabled and (active.node is self.app) == everywhere:
                listed.setdefault(binding.action, active)
        for active in listed.values():
            binding = active.binding
            run = partial(self.app.run_action, binding.action, active.node)
            yield (
                f"{binding.description} ({self.app.get_key_display(binding)})",
                binding.tooltip,
                run,
            )
