"""The result of probing a provider, shared by `probe` and the console."""

from __future__ import annotations

from embedq_worker.actions.probing import Probed
from embedq_worker.text import printable_line

LONGEST = 200
"""Characters to show of a reason: some servers answer with a whole page."""


def describe(probed: Probed) -> str:
    """Describe the result in one line."""
    if not probed.held:
        return f"{probed.key} is available again"
    if probed.answered:
        address = probed.key.rpartition(" ")[2]  # it is in both
        reason = probed.reason.removeprefix(address).lstrip(": ")
        return f"{probed.key} still fails: {printable_line(reason, LONGEST)}"
    if not probed.workers:
        return f"{probed.key} is unavailable, and no running worker uses it and could probe it"
    return f"{probed.key} has not answered yet; the probe is still running"
