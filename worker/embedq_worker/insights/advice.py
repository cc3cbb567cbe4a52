"""Advice for an error from its text, be it of embedq, the article application's worker or a provider."""

from __future__ import annotations

import re

RETRY_ALL = "embedq-tui retry --failed"
"""The command in the table; `advice_for` replaces it with one that retries only the tasks in question."""

_RETRY = f"then: {RETRY_ALL}"

_TEXTS = (
    "the provider or the chunker cannot process these texts: correct the articles, or mark them no_rag; "
    + _RETRY
)

_ADVICE: tuple[tuple[str, str], ...] = (
    (r"^cancelled by", "an operator cancelled these; to run them after all: " + RETRY_ALL),
    (
        r"worker that held this task died|no worker survives",
        "their worker died while processing them: check its log, its memory limit and the articles; "
        + _RETRY,
    ),
    (
        r"claim was held too long|stuck",
        "they took longer than EMBEDDING_QUEUE_MAX_PROCESSING_TIME: check the load of the provider, or "
        f"reduce EMBEDDING_BATCH_SIZE; {_RETRY}",
    ),
    (
        r"context(?! (deadline|cancel))|too long|too large|maximum.*tokens|input length|\b413\b",
        "the text is longer than the model's context: reduce CHUNK_SIZE or, with Ollama, set "
        f"EMBEDDING_CONTEXT_TOKENS to the context length of the model; {_RETRY}",
    ),
    (r"^other texts work", _TEXTS),
    (
        r"(expected|different).*dimension|dimensions?\b.*\b(expected|not|mismatch)"
        r"|vectors? of \d+ (components|dimensions)",
        "the model's dimensions do not match the column: correct EMBEDDING_MODEL and EMBEDDING_DIMENSIONS, "
        + _RETRY,
    ),
    (r"answered 4(00|22)\b(?!.*(api.?key|model.*(not found|does not exist|unknown)))", _TEXTS),
    (
        r"\b40[13]\b|unauthori[sz]ed|forbidden|api.?key|invalid.*key",
        f"the provider rejects the API key: correct OPENAI_API_KEY, test with `embedq-tui check`, {_RETRY}",
    ),
    (
        r"model.*(not found|does not exist|unknown)|\b404\b",
        f"the provider does not have the model: `ollama pull` it, or correct EMBEDDING_MODEL; {_RETRY}",
    ),
    (
        r"\b429\b|rate.?limit|quota|too many requests",
        "rate limit or quota reached: reduce EMBEDDING_CONCURRENT_WORKERS or raise the quota; " + _RETRY,
    ),
    (
        r"EMBEDDING_WORKER_TIMEOUT",
        "these articles take longer than EMBEDDING_WORKER_TIMEOUT: raise it, or split them; " + _RETRY,
    ),
    (
        r"connect.*refused|refused.*connect"
        r"|unreachable|ECONN|ENOTFOUND|ETIMEDOUT|fetch failed|name or service|timed? ?out"
        r"|did not answer|deadline exceeded|connection attempts? failed|network|socket|\b50[0234]\b"
        r"|connection (reset|lost|closed)",
        f"the provider could not be reached: test with `embedq-tui check`, {_RETRY}",
    ),
    (
        r"not finite|NaN|(refuse|reject)(s|e?d)? .*text|invalid input|\b4(00|22)\b|could not be (cut|split)",
        _TEXTS,
    ),
    (
        r"disk|no space|could not extend",
        f"the database is out of disk space: free some, {_RETRY}",
    ),
    (
        r"the database (refuse|reject)s|violates|constraint|permission denied",
        "the database rejects the embeddings: see its log and `embedq-tui check` for the reason; " + _RETRY,
    ),
)

READ = 2_000
"""Characters of an error that are searched: its beginning says what happened, the rest may be of any size."""

_CHUNK = r"chunk \d+: "
"""What precedes the error of one text; its number is no status of HTTP."""

UNKNOWN = "find the cause from the sample error and fix it, " + _RETRY


def advice_for(error: str, retry: str = RETRY_ALL) -> str:
    """One line that says what to do about an error, from the first rule that matches.

    Args:
        error: As stored with a failed task.
        retry: The command that retries exactly the tasks that failed with it.
    """
    told = re.sub(_CHUNK, "", error[:READ], count=1)
    # Patterns are compiled when first used, and cached by Python.
    found = (advice for pattern, advice in _ADVICE if re.search(pattern, told, re.IGNORECASE))
    return next(found, UNKNOWN).replace(RETRY_ALL, retry)
