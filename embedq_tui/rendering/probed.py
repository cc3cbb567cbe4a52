"""What came of trying a provider: the same in the command and in the console."""

from __future__ import annotations

from embedq_worker.actions.probing import Probed
from embedq_worker.text import printable_line

LONGEST = 200
"""Characters of a reason: some servers answer with a page."""


def told(probed: Probed) -> str:
    """What came of it, in a line."""
    if not probed.held:
        return f"{probed.key} is asked again"
    if probed.answered:
        address = probed.key.rpartition(" ")[2]  # stands in both
        reason = probed.reason.removeprefix(address).lstrip(": ")
        return f"{probed.key} still does not work: {printable_line(reason, LONGEST)}"
    if not probed.workers:
        return f"{probed.key} is held, and no worker that uses it is running to try it"
    return f"{probed.key} has not answered yet; it is being tried"
