"""How the console acts on tasks: count, ask, carry out with progress, tell what came of it, take it back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from embedq_tui.console import deeds
from embedq_tui.console.deeds import Counted, Deed, Grade
from embedq_tui.console.desk import Desk
from embedq_tui.operations.staged import STAGE_TIMEOUT_S, STAGES, Stage, in_stages
from embedq_tui.output import count
from embedq_tui.screens.dialogs.confirm import Answer, Enquiry
from embedq_tui.screens.dialogs.outcome import Report
from embedq_tui.screens.dialogs.running import Progress, Stopped
from embedq_worker.actions.tasks import BATCH, RETRY, LeftOut, Outcome, Plan, Run, carry_out, left_out, plan
from embedq_worker.actions.undo import Undoable, Undone, undo, undoable
from embedq_worker.database.connections import Connection
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.tasks import TaskRow, list_tasks
from embedq_worker.schema import migrations

SAMPLE_S = 1.0
"""Seconds that naming some of the tasks may take; a question can do without."""

REMEMBERED = 20
"""Operations that can be taken back one after the other."""


@dataclass(frozen=True, slots=True)
class Act:
    """Something that was done and can be taken back.

    Attributes:
        operation_id: In the audit log.
        words: What was done: ``12 tasks cancelled``.
    """

    operation_id: UUID
    words: str


@dataclass(slots=True)
class Actor(Desk):
    """Acts on one database for one operator. Its coroutines are called in workers of Textual.

    Attributes:
        undo_key: As the operator knows it.
        batch_size: Tasks per transaction.
        stage_timeout_s: Seconds that a stage of a retry may take to end.
    """

    undo_key: str = "u"
    batch_size: int = BATCH
    stage_timeout_s: float = STAGE_TIMEOUT_S
    _acts: deque[Act] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    # -- acting on tasks

    async def act(self, deed: Deed) -> Outcome | None:
        """Count, ask, carry out, tell.

        Args:
            deed: What is to be done.

        Returns:
            What was done, `Outcome.ids` are the tasks to which it was; also where it was stopped or failed
            half way. None where it was not begun.
        """
        if self.refused():
            return None
        with self.telling(f"Nothing was {deed.action.done}"):
            counting = Progress("Counting the tasks", stop="Leave it")
            counted = await self.watch(counting, lambda _: self._count(deed))
            if not counted.matched:
                await self._tell_nothing(deed, counted.planned)
                return None
            answer = await self._ask(deed, counted)
            if answer is not Answer.NO:
                return await self._carry_out(deed, counted.planned, staged=answer is Answer.STAGED)
        return None

    async def _count(self, deed: Deed) -> Counted:
        async with self.link.connection() as connection:
            await migrations.require_current(connection)
            planned = await plan(connection, deed.action, deed.wanted)
            if not planned.matched or deed.grade is Grade.PLAIN:
                return Counted(planned)
            in_hand = 0
            if len(planned.wanted.statuses) > 1:  # few, and what is said of them matters
                held = await plan(connection, deed.action, planned.wanted.only("processing"))
                in_hand = min(held.matched, planned.matched)
            return Counted(planned, in_hand, await self._samples(connection, planned))

    async def _samples(self, connection: Connection, planned: Plan) -> list[str]:
        with suppress(TimeoutError):
            async with asyncio.timeout(SAMPLE_S):
                page = await list_tasks(connection, planned.wanted, limit=deeds.NAMED, direction="oldest")
                return [_name(row) for row in page.tasks if _certain(planned, row)]
        return []

    async def _ask(self, deed: Deed, counted: Counted) -> Answer:
        if deed.grade is Grade.PLAIN:
            return Answer.YES
        word = str(counted.matched) if deed.grade is Grade.SWEEP else ""
        lines = deeds.consequences(deed, counted)
        staged = deed.action is RETRY and counted.matched > STAGES[0]
        if staged:
            lines.append(
                f"In stages: {STAGES[0]} first, then {STAGES[1]}, then the rest, while it goes well."
            )
        if word:
            lines.append(f"Type {word} to go on.")
        yes = f"{deed.verb.split()[0]} {counted.matched:,}"
        danger = deed.action is not RETRY
        return await self.confirm(
            Enquiry(deeds.question(deed, counted), lines, yes, word, staged=staged, danger=danger)
        )

    async def _carry_out(self, deed: Deed, planned: Plan, *, staged: bool) -> Outcome:
        outcome = Outcome()
        title = f"{deed.verb} {deeds.subject(deed, planned)}"
        try:
            went_well, missed = await self.watch(
                Progress(title, planned.matched),
                lambda progress: self._run(planned, outcome, progress, staged),
            )
        except EmbedqError as error:
            self._remember(deed, outcome)
            await self._tell_broken(planned, outcome, error)
            return outcome
        self._remember(deed, outcome)
        await self._tell_done(deed, planned, outcome, missed, halted=not went_well)
        return outcome

    async def _run(
        self, planned: Plan, outcome: Outcome, progress: Progress, staged: bool
    ) -> tuple[bool, list[LeftOut]]:
        async with self.link.connection() as connection:
            run = Run(connection, planned, self.by, self.batch_size, progress.reached, outcome)
            well = True
            if staged:
                well = await in_stages(run, self.stage_timeout_s, lambda stage: _tell_stage(progress, stage))
            else:
                await carry_out(run)
            return well, await left_out(
                connection, planned, outcome
            ) if planned.wanted.ids is not None else []

    def _remember(self, deed: Deed, outcome: Outcome) -> None:
        if deed.undoable and outcome.changed:
            words = f"{count(outcome.changed, 'task')} {deed.action.done}"
            self._acts.append(Act(outcome.operation_id, words))

    # -- telling what came of it

    async def _tell_nothing(self, deed: Deed, planned: Plan) -> None:
        missed: list[LeftOut] = []
        if deed.wanted.ids:
            async with self.link.connection() as connection:
                missed = await left_out(connection, planned, Outcome())
        rows = _rows(deed, missed)
        if len(rows) > 1:
            await self.tell(Report(f"Nothing was {deed.action.done}", (), rows))
        elif rows:
            self.notify(f"Not {deed.action.done}: {rows[0][1]}", bad=True)
        else:
            self.notify(f"There are no {deed.scope or planned.wanted.describe()}")

    async def _tell_done(
        self, deed: Deed, planned: Plan, outcome: Outcome, missed: Sequence[LeftOut], *, halted: bool
    ) -> None:
        title = f"{count(outcome.changed, 'task')} {deed.action.done}"
        rows = _rows(deed, missed)
        lines = []
        if halted:
            left = planned.matched - outcome.changed
            lines.append(f"Halted: the last stage did not go well; {count(left, 'task')} not touched.")
        elif not rows and (apart := planned.matched - outcome.changed) > 0:
            lines.append(f"{count(apart, 'task')} changed meanwhile, or held by others, and left alone.")
        if outcome.changed:
            lines += self._afterwards(deed, outcome)
        if halted or len(rows) > 1 or (rows and outcome.changed):
            await self.tell(Report(title, lines, rows))
        elif rows:
            self.notify(f"Not {deed.action.done}: {rows[0][1]}", bad=True)
        else:
            self.notify("\n".join([title, *lines]))

    async def _tell_broken(self, planned: Plan, outcome: Outcome, error: EmbedqError) -> None:
        """It was stopped, or failed on its way."""
        done = f"{outcome.changed:,} of {count(planned.matched, 'task')} {planned.action.done}"
        stopped = isinstance(error, Stopped)
        lines = [] if stopped else [line for line in (error.message, error.advice) if line]
        lines.append("What was done stays done; do it again to go on with the rest.")
        if outcome.changed:
            lines.append(f"operation {outcome.operation_id}")
        await self.tell(Report(f"{'Stopped' if stopped else 'Failed'}: {done}", lines, bad=not stopped))

    def _afterwards(self, deed: Deed, outcome: Outcome) -> list[str]:
        undo_it = [f"{self.undo_key}: undo"] if deed.undoable else []
        return [f"operation {outcome.operation_id}", *undo_it]

    # -- undo

    @property
    def last_undoable(self) -> Act | None:
        """What `undo_last` would take back."""
        return self._acts[-1] if self._acts else None

    async def undo_last(self) -> Undone | None:
        """Take back the last thing of this session that can be taken back, after a question."""
        if (last := self.last_undoable) is None:
            self.notify("There is nothing to undo: cancelled tasks and priorities of this session can be")
            return None
        return await self.undo(last)

    async def undo(self, act: Act) -> Undone | None:
        """Take back an operation, after a question.

        Args:
            act: Also one that was found in the audit log.

        Returns:
            What came of it; None where it was not begun, or did not come to its end.
        """
        if self.refused():
            return None
        undone = None
        with self.telling("Not undone"):
            found = await self.watch(
                Progress("Counting the tasks", stop="Leave it"), lambda _: self._undoable(act)
            )
            if not found.open:
                self._forget(act)
                self.notify(f"{act.words}: something has happened to all of them since", bad=True)
            elif await self.confirm(_undo_enquiry(act, found)) is Answer.YES:
                undone = await self._undo(act, found)
        return undone

    async def _undoable(self, act: Act) -> Undoable:
        async with self.link.connection() as connection:
            await migrations.require_current(connection)
            return await undoable(connection, act.operation_id)

    async def _undo(self, act: Act, found: Undoable) -> Undone | None:
        progress = Progress(f"Undo: {act.words}", found.open)
        try:
            undone = await self.watch(progress, lambda progress: self._take_back(act, progress))
        except EmbedqError as error:
            stopped = isinstance(error, Stopped)
            done = f"{progress.done:,} of {count(found.open, 'task')} taken back"
            lines = [] if stopped else [line for line in (error.message, error.advice) if line]
            lines.append("Undo it again to go on with the rest.")
            await self.tell(Report(f"{'Stopped' if stopped else 'Failed'}: {done}", lines, bad=not stopped))
            return None
        self._forget(act)
        kept = f"; to {undone.kept:,} something has happened since" if undone.kept else ""
        self.notify(f"{count(undone.changed, 'task')} taken back{kept}\noperation {undone.operation_id}")
        return undone

    async def _take_back(self, act: Act, progress: Progress) -> Undone:
        async with self.link.connection() as connection:
            return await undo(
                connection, act.operation_id, self.by, batch_size=self.batch_size, progress=progress.reached
            )

    def _forget(self, act: Act) -> None:
        with suppress(ValueError):
            self._acts.remove(act)


def _rows(deed: Deed, missed: Sequence[LeftOut]) -> list[tuple[str, str]]:
    return [(deed.names.get(one.id) or str(one.id), one.words) for one in missed]


def _name(row: TaskRow) -> str:
    return row.slug or (f"article {row.article_id}" if row.article_id is not None else str(row.id))


def _certain(planned: Plan, row: TaskRow) -> bool:
    """Whether a task of the filter is one that the action is for, as far as a list tells."""
    if planned.action is RETRY:
        return row.operation != "delete"
    return planned.action.name != f"priority {row.priority}"


def _tell_stage(progress: Progress, stage: Stage) -> None:
    ended = f"{stage.tasks - stage.waiting:,} of {count(stage.tasks, 'task')} ended"
    progress.lines[stage.number - 1 :] = [f"Stage {stage.number}: {ended}, {stage.failed:,} failed again"]


def _undo_enquiry(act: Act, found: Undoable) -> Enquiry:
    lines = [f"Of this operation: {act.words}", "They will be as they were before."]
    if found.touched:
        lines.append(f"To {count(found.touched, 'task')} something has happened since: left alone.")
    return Enquiry(f"Take back {count(found.open, 'task')}?", lines, f"Take back {found.open:,}")
