"""From claimed tasks to stored vectors: plan, embed, settle. A batch runs as a whole; a task fails alone."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import TypeVar
from uuid import UUID

from embedq_worker.backoff import Backoff
from embedq_worker.database.connections import Pool
from embedq_worker.database.failures import EXPECTED_ERRORS, PERSISTING, one_line, persist
from embedq_worker.database.kept import KeptConnection
from embedq_worker.providers.base import (
    InputRejected,
    ProviderError,
    ProviderRateLimited,
    ProviderUnavailable,
)
from embedq_worker.queue import breaker, claims, fleet
from embedq_worker.queue.claims import ClaimedTask, Completion, Return, ReturnKind, Scope
from embedq_worker.queue.low_water import LowWater
from embedq_worker.schema.storage import VectorStorage
from embedq_worker.service.embedder import Embedder, RequestStats, TextOutcome, Unfinished
from embedq_worker.service.planning import NOT_SPLIT, PlannedTask, plan_tasks, verdict
from embedq_worker.service.refusals import ALONE_S, Refusals
from embedq_worker.service.storing import Storing
from embedq_worker.service.suspicion import MAY_BE_A_TEXT, Suspicion
from embedq_worker.text import printable
from embedq_worker.waits import in_time

T = TypeVar("T")

_AT_ONCE = 4_000
"""Characters that can be chunked in less than a millisecond, which is not worth a thread."""


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """What the pipeline needs of the settings.

    Attributes:
        chunk_size: Words per chunk.
        chunk_overlap: Words that neighbouring chunks share.
        deadline_s: Seconds in which a batch must be chunked and embedded; tasks embedded by then are stored.
            A suspect has as many for each retry, and no retry begins after that many.
        patience_s: Seconds for which a batch is kept while the database refuses what is to be written for it.
        backoff: Delay between the attempts of a task.
    """

    chunk_size: int
    chunk_overlap: int
    deadline_s: float
    patience_s: float
    backoff: Backoff


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What became of a batch.

    Attributes:
        outcomes: Number of tasks by outcome: stored, skipped, removed, gone, coalesced, changed, requeued,
            failed, lost.
        requests: Requests sent to the provider.
        errors: Number of returned tasks by error.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    requests: list[RequestStats] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def succeeded(self) -> int:
        """Tasks completed, also those not claimed that were done along with one of the same article."""
        return sum(self.outcomes[name] for name in ("stored", "skipped", "removed", "gone", "coalesced"))

    @property
    def failed(self) -> int:
        """Tasks failed permanently."""
        return self.outcomes["failed"]


class Pipeline:
    """Claims tasks and processes them.

    Args:
        pool: To the migrated database.
        claimer: Connection to the same database, reserved for claims.
        scope: Who claims, and what.
        storage: How the database stores vectors.
        embedder: Limits the requests in flight over all batches.
        refusals: Is told what the database refuses.
        settings: Sizes and times.

    Attributes:
        in_hand: Tasks claimed and not yet settled.
        refusals: What the database refuses at the moment.
        unproven: The provider failed, which opened its breaker, and no request of this worker has succeeded
            since. It claims only deletes, even when the provider works for others: with a key that was
            replaced, it would open the breaker for all of them again and again.
    """

    def __init__(
        self,
        pool: Pool,
        claimer: KeptConnection,
        scope: Scope,
        storage: VectorStorage,
        embedder: Embedder,
        refusals: Refusals,
        settings: PipelineSettings,
    ) -> None:
        self.in_hand: dict[UUID, ClaimedTask] = {}
        self.refusals = refusals
        self.unproven = False
        self._pool = pool
        self._claimer = claimer
        self._scope = scope
        self._storing = Storing(pool, scope, storage, refusals, settings.backoff, settings.patience_s)
        self._embedder = embedder
        self._settings = settings
        self._low_water = LowWater()
        self._provider_failed = False
        self._suspicion = Suspicion(embedder)

    async def claim(self, limit: int) -> list[ClaimedTask]:
        """Claim at most `limit` due tasks.

        Raises:
            One of `failures.EXPECTED_ERRORS`.
        """
        marks = self._low_water.marks()
        began = monotonic()
        tasks = await claims.claim(self._claimer, self._scope, limit, marks, deletes_only=self.unproven)
        self._take(tasks)
        if len(tasks) == limit:
            self._low_water.claimed(tasks, monotonic() - began)
        elif marks:
            # A short batch is left short: a task that is to be tried alone comes alone.
            self._low_water.forget()
            if not tasks:
                tasks = await claims.claim(self._claimer, self._scope, limit, deletes_only=self.unproven)
                self._take(tasks)
        return tasks

    async def require_same_ground(self) -> None:
        """See `Storing.require_same_ground`."""
        await self._storing.require_same_ground()

    def _take(self, tasks: Sequence[ClaimedTask]) -> None:
        self.in_hand.update((task.id, task) for task in tasks)

    async def run(self, tasks: Sequence[ClaimedTask]) -> BatchReport:
        """Process claimed tasks until each is settled in the database.

        Failures of texts, provider and database become outcomes or are retried. Only cancellation ends it
        early; `release` then returns the remaining tasks.

        Raises:
            EmbedqError: The database accepts no embeddings of any task; the remaining tasks are still held.
        """
        report = BatchReport()
        ends = monotonic() + self._settings.deadline_s
        try:
            plans = await self._plan(tasks)
        except (TimeoutError, MemoryError) as failure:
            late = isinstance(failure, TimeoutError)
            error = self._late("split into chunks") if late else NOT_SPLIT.format("MemoryError")
            await self._give_back(
                [self._failed_attempt(task, error, None, sure=len(tasks) == 1) for task in tasks], report
            )
            return report
        texts = [planned.input for plan in plans for planned in plan.chunks if not planned.reuse]
        left_s = ends - monotonic()
        if left_s <= 0:
            left_s = self._settings.deadline_s  # splitting was in time, so the process was frozen meanwhile
        outcomes = await self._ask(texts, report, within_s=left_s)
        if len(tasks) == 1:
            await self._suspicion.ask_again(
                tasks[0].id,
                outcomes,
                lambda lacking, smaller: self._ask(
                    lacking, report, within_s=self._settings.deadline_s, smaller=smaller
                ),
                within_s=self._settings.deadline_s,
            )
        await self._settle(plans, outcomes, report)
        return report

    async def fail(self, tasks: Sequence[ClaimedTask], error: BaseException) -> BatchReport:
        """Return tasks that hit a bug, with the stack trace; what the database refuses is none."""
        report = BatchReport()
        detail = printable("".join(traceback.format_exception(error)))
        line = f"{type(error).__name__}: {one_line(error)}"
        left = [task for task in tasks if self._holds(task)]
        if isinstance(error, EXPECTED_ERRORS):
            returns = [Return(task, ReturnKind.RELEASE, line, delay_s=ALONE_S) for task in left]
        else:
            returns = [self._failed_attempt(task, line, detail, sure=len(left) == 1) for task in left]
        try:
            await self._give_back(returns, report)
        except EXPECTED_ERRORS:
            # The database refuses that too. No longer held here, these claims will soon be disowned.
            self._settled(left, {task.id: "lost" for task in left}, report)
        return report

    def resize(self, concurrency: int) -> None:
        """Change the maximum number of requests in flight."""
        self._embedder.resize(concurrency)

    async def release(self, reason: str) -> int:
        """Return every held task without charging an attempt; tries only once.

        Returns:
            How many tasks there were.

        Raises:
            One of `failures.EXPECTED_ERRORS`: other workers take the tasks back when this one is gone.
        """
        left = list(self.in_hand.values())
        if left:
            await claims.give_back(
                self._pool, self._scope, [Return(task, ReturnKind.RELEASE, reason) for task in left]
            )
            self.in_hand.clear()
        return len(left)

    async def disown(self) -> int:
        """Return claims of this worker that it does not know of because their response was lost.

        Call it only while no claim is under way.

        Returns:
            How many there were.

        Raises:
            One of `failures.EXPECTED_ERRORS`.
        """
        self._low_water.forget()
        return await fleet.disown(self._pool, self._scope.worker, self.in_hand, older_s=0)

    async def _plan(self, tasks: Sequence[ClaimedTask]) -> list[PlannedTask]:
        size, overlap = self._settings.chunk_size, self._settings.chunk_overlap
        if sum(len(task.article.content) for task in tasks if task.article) <= _AT_ONCE:
            return plan_tasks(tasks, size, overlap)
        return await in_time(lambda: _in_thread(tasks, size, overlap), self._settings.deadline_s)

    # -- asking the provider

    async def _ask(
        self, texts: Sequence[str], report: BatchReport, *, within_s: float, smaller: int = 1
    ) -> dict[str, TextOutcome]:
        result = await self._embedder.embed(texts, within_s=within_s, smaller=smaller)
        report.requests.extend(result.requests)
        return dict(zip(texts, result.outcomes, strict=True))

    # -- settling

    async def _settle(
        self, plans: Sequence[PlannedTask], outcomes: dict[str, TextOutcome], report: BatchReport
    ) -> None:
        completions: list[Completion] = []
        returns: list[Return] = []
        held: list[tuple[ClaimedTask, ProviderError]] = []
        for plan in plans:
            match verdict(plan, outcomes):
                case Completion() as completion:
                    completions.append(completion)
                case InputRejected() as refusal:
                    returns.append(Return(plan.task, ReturnKind.FINAL, refusal.message))
                case Unfinished():
                    error = self._late("embedded")
                    returns.append(self._failed_attempt(plan.task, error, None, sure=len(plans) == 1))
                case ProviderError() as failure:
                    held.append((plan.task, failure))
                case None:
                    returns.append(self._failed_attempt(plan.task, plan.error, plan.detail, sure=True))
        if completions:
            returns += await self._storing.complete(
                completions,
                lambda outcomes: self._settled((item.task for item in completions), outcomes, report),
            )
        worked = any(request.error is None for request in report.requests)
        returns += await self._held(held, len(plans), worked=worked)
        if returns:
            await self._give_back(returns, report)

    async def _held(
        self, held: Sequence[tuple[ClaimedTask, ProviderError]], batch_size: int, *, worked: bool
    ) -> list[Return]:
        """Decide what becomes of tasks for which the provider failed, in a batch of `batch_size` tasks."""
        error = held[0][1] if held else None
        known = isinstance(error, MAY_BE_A_TEXT) and self._suspicion.knows(task.id for task, _ in held)
        text_at_fault = error is not None and await self._suspicion.is_a_text(error, known=known)
        delay_s = await self._tell_breaker(None if text_at_fault else error, worked=worked or text_at_fault)
        if text_at_fault:
            sure = known and batch_size == 1  # a first failure is never charged
            return [
                self._failed_attempt(task, f"other texts work: {reason.message}", None, sure=sure)
                for task, reason in held
            ]
        return [Return(task, ReturnKind.RELEASE, reason.message, delay_s=delay_s) for task, reason in held]

    async def _tell_breaker(self, error: ProviderError | None, *, worked: bool) -> float:
        """Update the breaker; return the seconds until tasks that the provider failed are due again."""
        if worked and self._provider_failed and (error is None or isinstance(error, ProviderUnavailable)):
            self._provider_failed = self.unproven = False
            await self.persist(lambda: breaker.works(self._pool, self._scope.provider))
        if error is None:
            return 0.0
        self._provider_failed = True
        wait_s = await self.persist(lambda: breaker.failed(self._pool, self._scope.provider, error))
        if wait_s > 0 and not isinstance(error, ProviderRateLimited):
            self.unproven = True
        # While the breaker holds requests back, tasks keep their position; otherwise they wait a little.
        return 0.0 if wait_s > 0 else self._settings.backoff.delay_s(0)

    async def _give_back(self, returns: Sequence[Return], report: BatchReport) -> None:
        outcomes = await self.persist(lambda: claims.give_back(self._pool, self._scope, returns))
        self._settled((item.task for item in returns), outcomes, report)
        report.errors.update(item.error for item in returns if outcomes[item.task.id] != "changed")

    async def persist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Like `failures.persist`; what is refused meanwhile is known.

        What no text is to blame for, such as a broken trigger, is tried again for a while: it is known only
        if it lasts, and the provider would be asked again for a task that is claimed again at once.

        Args:
            call: Makes the call; called once per attempt.

        Raises:
            One of `failures.EXPECTED_ERRORS`: It was refused for that while.
        """
        ends, alone_s, tries = monotonic() + min(self._settings.patience_s, ALONE_S), 0.0, 0
        try:
            while True:
                try:
                    return await persist(call, lambda error: self.refusals.refused(call, error))
                except EXPECTED_ERRORS as error:
                    self.refusals.refused(call, error)
                    if monotonic() > ends:
                        alone_s = ALONE_S
                        raise
                await asyncio.sleep(PERSISTING.delay_s(tries))
                tries += 1
        finally:
            self.refusals.ended(call, after_s=alone_s)

    def _holds(self, task: ClaimedTask) -> bool:
        """Whether it is in hand by this claim, and not by a later one, as after a reset in psql."""
        return self.in_hand.get(task.id) is task

    def _settled(
        self, tasks: Iterable[ClaimedTask], outcomes: Mapping[UUID, str], report: BatchReport
    ) -> None:
        for task in tasks:
            if outcomes.get(task.id) in ("changed", "requeued", "lost"):
                self._low_water.returned([task])
            if task.id in outcomes and self._holds(task):
                del self.in_hand[task.id]
        self._suspicion.clear(task for task in outcomes if outcomes[task] != "requeued")
        report.outcomes.update(outcomes.values())

    def _failed_attempt(self, task: ClaimedTask, error: str, detail: str | None, *, sure: bool) -> Return:
        """End an attempt; unless it is sure that this task is the cause, it is first retried alone."""
        if not sure:
            return Return(task, ReturnKind.ISOLATE, error, detail)
        delay_s = self._settings.backoff.delay_s(task.attempts)
        return Return(task, ReturnKind.RETRY, error, detail, delay_s=delay_s)

    def _late(self, what: str) -> str:
        return f"not {what} within {self._settings.deadline_s:g} s (EMBEDDING_WORKER_TIMEOUT)"


async def _in_thread(tasks: Sequence[ClaimedTask], size: int, overlap: int) -> list[PlannedTask]:
    wanted = threading.Event()
    wanted.set()
    try:
        return await asyncio.to_thread(plan_tasks, tasks, size, overlap, wanted.is_set)
    except (RuntimeError, OSError):  # the system has no thread or no file left, for which no task is to blame
        return plan_tasks(tasks, size, overlap)
    finally:
        wanted.clear()  # a thread cannot be cancelled, and the worker could not end before it
