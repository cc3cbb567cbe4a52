"""What came of trying a provider: the same in the command and in the console."""

from __future__ import annotations

from embedq_worker.actions.probing import Probed


def told(probed: Probed) -> str:
    """What came of it, in a line."""
    if not probed.held:
        return f"{probed.key} is asked again"
    if probed.answered:
        return f"{probed.key} still does not work: {probed.reason}"
    if not probed.workers:
        return f"{probed.key} is held, and no worker that uses it is running to try it"
    return f"{probed.key} has not answered yet; it is being tried"
