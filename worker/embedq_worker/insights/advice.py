"""What to do about an error, from its text: of our own worker, of the article program's, of providers."""

from __future__ import annotations

import re

RETRY_ALL = "embedq-tui retry --failed"
"""The command that the table names; whoever asks puts one in its place that retries what it is about."""

_RETRY = f"then: {RETRY_ALL}"

_ADVICE: tuple[tuple[str, str], ...] = (
    (r"cancelled by", "an operator cancelled these; if that was not meant, " + _RETRY.removeprefix("then: ")),
    (
        r"worker that held this task died|no worker survives",
        "these ended with their worker's death: look at its log and memory, and at the articles' size; "
        + _RETRY,
    ),
    (
        r"claim was held too long|stuck",
        "slower than EMBEDDING_QUEUE_MAX_PROCESSING_TIME: is the provider overloaded? Smaller CHUNK_SIZE or "
        f"batches help; {_RETRY}",
    ),
    (
        r"(expected|different).*dimension|dimensions?\b.*\b(expected|not|mismatch)"
        r"|vectors? of \d+ components",
        f"model and column disagree: set EMBEDDING_DIMENSIONS and EMBEDDING_MODEL to match, {_RETRY}",
    ),
    (
        r"context(?! (deadline|cancel))|too long|too large|maximum.*tokens|input length|\b413\b",
        "longer than the model takes: a smaller CHUNK_SIZE, with Ollama EMBEDDING_CONTEXT_TOKENS as the "
        f"model has it; {_RETRY}",
    ),
    (
        r"\b40[13]\b|unauthori[sz]ed|forbidden|api.?key|invalid.*key",
        f"the provider refuses the key: set OPENAI_API_KEY, try `embedq-tui check`, {_RETRY}",
    ),
    (
        r"model.*(not found|does not exist|unknown)|\b404\b",
        f"the provider lacks the model: `ollama pull`, or check EMBEDDING_MODEL; {_RETRY}",
    ),
    (
        r"\b429\b|rate.?limit|quota|too many requests",
        "the provider asked for patience or is out of quota: a smaller EMBEDDING_CONCURRENT_WORKERS; "
        + _RETRY,
    ),
    (
        r"refused|unreachable|ECONN|ENOTFOUND|ETIMEDOUT|fetch failed|name or service|timed? ?out"
        r"|did not answer|deadline exceeded|connection attempts? failed|network|socket|\b50[0234]\b"
        r"|connection (reset|lost|closed)",
        f"the provider was not reachable: try `embedq-tui check`, {_RETRY}",
    ),
    (
        r"not finite|NaN|refuses? .*text|invalid input|\b4(00|22)\b|could not be cut",
        "the provider or the chunker refuses these texts: look at the articles, edit them, " + _RETRY,
    ),
    (
        r"disk|no space|could not extend",
        f"the database is out of space: make room, {_RETRY}",
    ),
    (
        r"the database refuses|violates|constraint|permission denied",
        "the database refuses what was to be stored: its log and `embedq-tui check` tell why; " + _RETRY,
    ),
)

READ = 2_000
"""Characters of an error that are read: what happened stands at its beginning, the rest may be any size."""

UNKNOWN = "look at the sample, mend its cause, " + _RETRY


def advice_for(error: str, retry: str = RETRY_ALL) -> str:
    """One line that says what to do about an error; the first rule that fits.

    Args:
        error: As stored with a failed task.
        retry: The command that retries what failed with it, and nothing else.
    """
    told = error[:READ]
    # A pattern is compiled when an error is there to be read, and kept by Python.
    found = (advice for pattern, advice in _ADVICE if re.search(pattern, told, re.IGNORECASE))
    return next(found, UNKNOWN).replace(RETRY_ALL, retry)
