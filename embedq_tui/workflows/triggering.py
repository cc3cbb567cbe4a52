"""The trigger on articles in words: for the command and for the console."""

from __future__ import annotations

from embedq_worker.actions.article_trigger import ArticleTrigger


def words_of(state: ArticleTrigger) -> str:
    """What is installed, in a line."""
    if not state.events:
        return "The trigger is not installed."
    events = ", ".join(state.events)
    if state.disabled:
        return f"The trigger is installed for {events}, but switched off for {', '.join(state.disabled)}."
    if not state.installed:
        return f"Only a part of the trigger is there ({events}): embedq-tui triggers install"
    return f"The trigger is installed for {events}; its tasks have {state.max_attempts} attempts."
