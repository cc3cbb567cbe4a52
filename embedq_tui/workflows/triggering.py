"""Describing the trigger on articles. Shared by the command and the console."""

from __future__ import annotations

from embedq_worker.actions.article_trigger import ArticleTrigger


def words_of(state: ArticleTrigger) -> str:
    """Describe what is installed, in one line."""
    if not state.events:
        return "The trigger is not installed."
    events = ", ".join(state.events)
    if state.disabled:
        return f"The trigger is installed for {events}, but disabled for {', '.join(state.disabled)}."
    if not state.installed:
        return f"The trigger is incomplete ({events} only); to repair it: embedq-tui triggers install"
    return f"The trigger is installed for {events}; its tasks get {state.max_attempts} attempts."
