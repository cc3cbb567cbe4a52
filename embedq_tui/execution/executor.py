"""Carries out requests from the console: counts, asks for confirmation, runs with progress, reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from embedq_tui.dialogs.confirm import Confirmation, Decision
from embedq_tui.dialogs.outcome import REST, Report, broken
from embedq_tui.dialogs.running import Progress
from embedq_tui.dialogs.service import Dialogs
from embedq_tui.execution.request import NAMED, Counted, Request, Safeguard, consequences, question, subject
from embedq_tui.execution.undo import UndoableOperation, UndoHistory
from embedq_tui.live.link import Link
from embedq_tui.rendering.keys import key
from embedq_tui.rendering.words import count
from embedq_tui.workflows.staged import STAGE_TIMEOUT_S, STAGES, Stage, in_stages
from embedq_worker.actions.left_out import LeftOut, left_out
from embedq_worker.actions.tasks import BATCH, RETRY, RETRY_WAITING, Outcome, Plan, Run, carry_out, plan
from embedq_worker.database.connections import Connection
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.tasks import TaskRow, list_tasks
from embedq_worker.queue.selection import Direction
from embedq_worker.schema.state import require_current
from embedq_worker.text import printable_line

SAMPLE_S = 1.0
"""Seconds that fetching sample task names may take; the question works without them."""


@dataclass(slots=True)
class Executor:
    """Carries out requests on one database. Call its coroutines in Textual workers.

    Attributes:
        dialogs: The dialogs of that database.
        link: The connection to it.
        by: The operator as ``user@host``.
        history: Remembers what can be undone.
        idle: Says why no worker claims tasks at the moment; empty if nothing prevents it.
        batch_size: Tasks per transaction.
        stage_timeout_s: Seconds a stage of a retry may take to finish.
    """

    dialogs: Dialogs
    link: Link
    by: str
    history: UndoHistory
    idle: Callable[[], str] = lambda: ""
    batch_size: int = BATCH
    stage_timeout_s: float = STAGE_TIMEOUT_S

    # -- carrying out

    async def carry_out(self, request: Request) -> Outcome | None:
        """Count, ask, carry out, report.

        Args:
            request: What to do.

        Returns:
            What was done, even if there was nothing to do, or if it was stopped or failed half-way;
            `Outcome.ids` are the affected tasks. None if it was not begun.
        """
        if self.dialogs.refused():
            return None
        with self.dialogs.telling(f"Nothing was {request.action.done}"):
            counting = Progress("Counting tasks", stop="Cancel")
            counted = await self.dialogs.watch(counting, lambda: self._count(request))
            if not counted.matched:
                await self._report_nothing(request, counted.planned)
                return Outcome()
            decision = await self._ask(request, counted)
            if decision is not Decision.NO:
                return await self._perform(request, counted.planned, staged=decision is Decision.STAGED)
        return None

    async def _count(self, request: Request) -> Counted:
        async with self.link.connection() as connection:
            await require_current(connection)
            planned = await plan(connection, request.action, request.wanted)
            if not planned.matched or request.safeguard is Safeguard.NONE:
                return Counted(planned)
            in_hand = 0
            if len(planned.wanted.statuses) > 1:  # there are few of these, and the operator should know
                held = await plan(connection, request.action, planned.wanted.only("processing"))
                in_hand = min(held.matched, planned.matched)
            return Counted(planned, in_hand, await self._samples(connection, planned))

    async def _samples(self, connection: Connection, planned: Plan) -> list[str]:
        with suppress(TimeoutError):
            async with asyncio.timeout(SAMPLE_S):
                first: Direction = "newest" if planned.action is RETRY_WAITING else "oldest"
                page = await list_tasks(connection, planned.wanted, limit=NAMED, direction=first)
                return [_name(row) for row in page.tasks if _certain(planned, row, page.at)]
        return []

    async def _ask(self, request: Request, counted: Counted) -> Decision:
        if request.safeguard is Safeguard.NONE:
            return Decision.YES
        word = str(counted.matched) if request.safeguard is Safeguard.TYPE_NUMBER else ""
        lines = consequences(request, counted)
        retries = request.action in (RETRY, RETRY_WAITING)
        if retries and (idle := self.idle()):
            lines.append(f"They wait: {idle}")
        staged = request.action is RETRY and counted.matched > STAGES[0]
        if staged:
            lines.append(
                f"In stages: {STAGES[0]} first, then {STAGES[1]}, then the rest, unless too many fail again."
            )
        if word:
            lines.append(f"Type {word} to confirm.")
        yes = f"{request.verb.split()[0]} {counted.matched:,}"
        return await self.dialogs.confirm(
            Confirmation(question(request, counted), lines, yes, word, staged=staged, danger=not retries)
        )

    async def _perform(self, request: Request, planned: Plan, *, staged: bool) -> Outcome:
        outcome = Outcome()
        progress = Progress(f"{request.verb} {subject(request, planned)}", planned.matched)
        try:
            halted, missed = await self.dialogs.watch(
                progress, lambda: self._run(planned, outcome, progress, staged)
            )
        except EmbedqError as error:
            self._remember(request, outcome)
            await self._report_broken(planned, outcome, error)
            return outcome
        self._remember(request, outcome)
        await self._report_done(request, planned, outcome, missed, halted)
        return outcome

    async def _run(
        self, planned: Plan, outcome: Outcome, progress: Progress, staged: bool
    ) -> tuple[str, list[LeftOut]]:
        """Carry it out, and say why it was halted, if it was."""
        halted = ""

        def report(stage: Stage) -> None:
            nonlocal halted
            halted = "" if stage.well else _ended(stage)  # the last look counts
            progress.lines[stage.number - 1 :] = _stage_lines(stage, self.idle())

        async with self.link.connection() as connection:
            run = Run(connection, planned, self.by, self.batch_size, progress.reached, outcome)
            if staged:
                await in_stages(run, self.stage_timeout_s, report)
            else:
                await carry_out(run)
            return halted, await left_out(connection, planned, outcome)

    def _remember(self, request: Request, outcome: Outcome) -> None:
        if request.undoable and outcome.changed:
            words = f"{count(outcome.changed, 'task')} {request.action.done}"
            self.history.remember(UndoableOperation(outcome.operation_id, words))

    # -- reporting the outcome

    async def _report_nothing(self, request: Request, planned: Plan) -> None:
        missed: list[LeftOut] = []
        if request.wanted.ids:
            async with self.link.connection() as connection:
                missed = await left_out(connection, planned, Outcome())
        rows = _rows(request, missed)
        if len(rows) > 1:
            await self.dialogs.tell(Report(f"Nothing was {request.action.done}", (), rows))
        elif rows:
            self.dialogs.notify(f"Not {request.action.done}: {rows[0][1]}", bad=True)
        elif planned.wanted.ids == ():  # the action applies to none of those statuses
            self.dialogs.notify(f"{request.wanted.describe()} cannot be {request.action.done}")
        else:
            scope = request.scope or planned.wanted.describe()
            self.dialogs.notify(f"No {scope} can be {request.action.done}")

    async def _report_done(
        self, request: Request, planned: Plan, outcome: Outcome, missed: Sequence[LeftOut], halted: str
    ) -> None:
        title = f"{count(outcome.changed, 'task')} {request.action.done}"
        rows = _rows(request, missed)
        only = len(request.names) == 1 and outcome.changed
        lines = [printable_line(name, 60) for name in request.names.values() if only]
        if halted:
            left = planned.matched - outcome.changed
            lines.append(f"Halted: {halted}; {count(left, 'task')} left alone.")
        elif not rows and (apart := planned.matched - outcome.changed) > 0:
            lines.append(f"{count(apart, 'task')} skipped: changed or locked in the meantime.")
        if outcome.changed:
            lines.append(f"operation {outcome.operation_id}")
            if request.undoable:
                lines.append(f"{key('app.undo')}: undo")
        if halted or len(rows) > 1 or (rows and outcome.changed):
            await self.dialogs.tell(Report(title, lines, rows))
        elif rows:
            self.dialogs.notify(f"Not {request.action.done}: {rows[0][1]}", bad=True)
        else:
            self.dialogs.notify("\n".join([title, *lines]))

    async def _report_broken(self, planned: Plan, outcome: Outcome, error: EmbedqError) -> None:
        """Report that it was stopped, or failed half-way."""
        done = f"{outcome.changed:,} of {count(planned.matched, 'task')} {planned.action.done}"
        lines = [REST] if outcome.changed < planned.matched else []
        if outcome.changed:
            lines.append(f"operation {outcome.operation_id}")
        await self.dialogs.tell(broken(error, done, lines))


def _rows(request: Request, missed: Sequence[LeftOut]) -> list[tuple[str, str]]:
    return [(request.names.get(one.id) or str(one.id), one.words) for one in missed]


def _name(row: TaskRow) -> str:
    return row.slug or (f"article {row.article_id}" if row.article_id is not None else str(row.id))


def _certain(planned: Plan, row: TaskRow, now: datetime) -> bool:
    """Whether the action applies to a task of the filter, as far as the list shows."""
    if planned.action is RETRY:
        return row.operation != "delete"
    if planned.action is RETRY_WAITING:
        return row.waits(now)
    return planned.action.name != f"priority {row.priority}"


def _stage_lines(stage: Stage, idle: str) -> list[str]:
    """How far a stage is, and what it is waiting for, if nothing moves."""
    ended = f"{stage.tasks - stage.waiting:,} of {count(stage.tasks, 'task')} finished"
    line = f"Stage {stage.number}: {ended}, {stage.failed:,} failed again"
    return [line, f"Waiting: {idle}"] if stage.waiting and idle else [line]


def _ended(stage: Stage) -> str:
    """What a stage came to that did not go well."""
    if stage.waiting:
        return f"{stage.waiting:,} of {count(stage.tasks, 'task')} did not finish in time"
    return f"{stage.failed:,} of {count(stage.tasks, 'task')} failed again"
