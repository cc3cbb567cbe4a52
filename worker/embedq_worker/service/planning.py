"""What a claimed task needs, and what the outcomes of its texts mean for it; pure computation, no I/O."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from embedq_worker.content.chunking import Chunk, content_hash, embedding_input, split_markdown
from embedq_worker.providers.base import InputRejected, ProviderError
from embedq_worker.queue.claims import ArticleText, ClaimedTask, Completion, CompletionKind, StoredChunk
from embedq_worker.service.embedder import Embedded, TextOutcome
from embedq_worker.text import printable


@dataclass(frozen=True, slots=True)
class PlannedChunk:
    """A chunk of an article.

    Attributes:
        input: Text that is sent to the provider.
        hash: Hash of the input.
        reuse: A vector for this hash is stored, so nothing has to be sent.
    """

    chunk: Chunk
    input: str
    hash: str
    reuse: bool


class PlannedTask(NamedTuple):
    """What to do for a task; `error` and `detail` are set if its article could not be chunked."""

    task: ClaimedTask
    kind: CompletionKind
    chunks: Sequence[PlannedChunk] = ()
    error: str = ""
    detail: str = ""


NOT_SPLIT = "the article could not be split into chunks: {}"


class BrokenOff(Exception):
    """Nobody waits for the plans any more."""


def plan_tasks(
    tasks: Sequence[ClaimedTask], size: int, overlap: int, wanted: Callable[[], bool] = lambda: True
) -> list[PlannedTask]:
    """Split the articles of tasks into chunks; takes time, so call it in a thread.

    Args:
        tasks: As claimed.
        size: Words per chunk.
        overlap: Words that neighbouring chunks share.
        wanted: Whether to go on; asked often.

    Raises:
        BrokenOff: The plans are no longer wanted.
        MemoryError: There is too little memory for one of them, or for all.
    """

    def go_on() -> None:
        if not wanted():
            raise BrokenOff

    return [_plan(task, size, overlap, go_on) for task in tasks]


def _plan(task: ClaimedTask, size: int, overlap: int, go_on: Callable[[], None]) -> PlannedTask:
    article = task.article
    if task.operation == "delete" or article is None:
        return PlannedTask(task, CompletionKind.DELETE)
    if article.no_rag:
        return PlannedTask(task, CompletionKind.SKIP)
    try:
        return PlannedTask(task, CompletionKind.STORE, _chunks(article, size, overlap, go_on))
    except (BrokenOff, MemoryError):  # the memory may have been taken by another article of the batch
        raise
    except Exception as error:
        # The boundary of a task: whatever its text causes, the rest of the batch continues.
        text = NOT_SPLIT.format(type(error).__name__)
        return PlannedTask(task, CompletionKind.STORE, error=text, detail=printable(traceback.format_exc()))


def _chunks(article: ArticleText, size: int, overlap: int, go_on: Callable[[], None]) -> list[PlannedChunk]:
    planned = []
    for chunk in split_markdown(article.content, size=size, overlap=overlap, go_on=go_on):
        text = embedding_input(article.title, chunk)
        digest = content_hash(text)
        planned.append(PlannedChunk(chunk, text, digest, reuse=digest in article.hashes))
    return planned


def verdict(plan: PlannedTask, outcomes: Mapping[str, TextOutcome]) -> Completion | ProviderError | None:
    """Decide the result of a task.

    Args:
        plan: Plan of the task.
        outcomes: By input, for every input that had to be sent.

    Returns:
        A completion, or a failure of the provider (a rejected text takes precedence), or None if planning
        failed.
    """
    if plan.error:
        return None
    if not plan.chunks:
        return Completion(plan.task, plan.kind)
    failures: list[ProviderError] = []
    stored: list[StoredChunk] = []
    notes: list[str] = []
    for planned in plan.chunks:
        chunk = planned.chunk
        vector = None
        match None if planned.reuse else outcomes[planned.input]:
            case Embedded() as embedded:
                vector = embedded.vector
                if embedded.note:
                    notes.append(f"chunk {chunk.index}: {embedded.note}")
            case InputRejected() as refusal:
                return InputRejected(f"chunk {chunk.index}: {refusal.message}", refusal.advice)
            case ProviderError() as error:
                failures.append(error)
        stored.append(StoredChunk(chunk.index, chunk.heading_path, chunk.text, planned.hash, vector))
    if failures:
        return failures[0]
    return Completion(plan.task, plan.kind, stored, note="; ".join(notes)[:2000])
