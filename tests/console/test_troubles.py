"""What keeps the workers from claiming, and what a provider that nobody uses any more has to do with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import monotonic

import pytest

from embedq_tui.live.questions import Answer
from embedq_tui.live.store import Judge, Look, Store
from embedq_tui.live.troubles import idle, troubles
from embedq_tui.rates import Rates
from embedq_tui.rendering.lines import drain_s, state_of
from embedq_tui.rendering.styles import BAD, DOUBTFUL, GOOD
from embedq_worker.database.listener import Heard, Hearing
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.health import Health, Measure
from embedq_worker.insights.issues import Code, Issue
from embedq_worker.insights.overview import Control, Overview, ProviderRow
from embedq_worker.queue.words import REFUSED
from tests.console.canned_world import COUNTS, overview, provider, workers


def seen(*providers: ProviderRow) -> Overview:
    """Workers with tasks to do, and circuit breakers."""
    return overview(COUNTS, workers())._replace(at=datetime.now(UTC), providers=providers)


def store(found: Overview) -> Store:
    """One that has looked."""
    kept = Store(lambda: None, lambda answer: None)
    kept.answered(Answer(Look(), found, at=monotonic()))
    return kept


@pytest.mark.parametrize("state", ["open", "cooling"])
def test_only_a_provider_in_use_keeps_the_workers_from_claiming(state: str) -> None:
    due = datetime.now(UTC) + timedelta(minutes=5)
    since = datetime.now(UTC) - timedelta(hours=2)
    held = provider()._replace(state=state, reason="401", advice="set its key", retry_at=due, opened_at=since)
    former = held._replace(key="former")
    assert idle(store(seen(held, former)))
    [told] = troubles(store(seen(held, former)))
    assert ("2 h" in told.message) is (state == "open")
    assert "set its key" in told.advice
    assert not idle(store(seen(former)))
    assert not troubles(store(seen(provider(), former)))


@pytest.mark.parametrize(("behind_s", "told"), [(60, ["ahead"]), (-60, ["behind"]), (0, [])])
def test_clocks_that_differ_are_a_problem(behind_s: int, told: list[str]) -> None:
    now = datetime.now(UTC) - timedelta(seconds=behind_s)
    found = troubles(store(seen()._replace(at=now)))
    assert [word for trouble in found for word in ("ahead", "behind") if word in trouble.message] == told
    assert all("1 min" in trouble.message for trouble in found)


def test_what_the_console_itself_lacks_is_a_problem() -> None:
    kept = store(seen())
    kept.heard(Heard(Hearing.DEAF))
    [deaf] = troubles(kept)
    kept.answered(Answer(Look(), None, EmbedqError("permission denied", "ask the owner")))
    assert troubles(kept) == [("permission denied", "ask the owner"), deaf]
    kept.heard(Heard(Hearing.LISTENING))
    kept.answered(Answer(Look(), seen(), at=monotonic()))
    assert not troubles(kept)


def test_what_an_operator_ordered_comes_first_with_its_age() -> None:
    since = datetime.now(UTC) - timedelta(hours=3)
    nobody = seen()._replace(running=False)
    for control in (Control(since, "ann", None, None), Control(None, None, since, "ann")):
        kept = store(nobody._replace(control=control))
        first = troubles(kept)[0].message
        assert "ann" in first
        assert "3 h" in first
        assert idle(kept) == first
    assert "ann" not in idle(store(nobody)) != ""


@pytest.mark.parametrize("migrated", [True, False])
def test_a_worker_is_missed_only_where_one_could_run(migrated: bool) -> None:
    nobody = seen()._replace(migrated=migrated, workers=(), running=False)
    assert bool(troubles(store(nobody))) is migrated


def judge(kept: Store, most: int, *issues: Issue) -> None:
    """A verdict arrives at the store: so many pending tasks are allowed."""
    measure = Measure("pending", 3 * most, most, "tasks")
    verdict = Health(datetime.now(UTC), not issues, issues, (measure,))
    kept.answered(Answer(Judge(), verdict, at=monotonic()))


def test_a_backlog_is_as_large_as_the_figure_below_says_and_does_not_come_and_go_at_its_limit() -> None:
    kept = store(seen())
    judge(kept, 1_000)
    for pending, told in (
        (0, False),
        (1_000, False),
        (1_001, True),
        (999, True),
        (901, True),
        (900, False),
        (999, False),
    ):
        queue = seen().queue
        counts = queue.counts._replace(pending=pending)
        kept.answered(Answer(Look(), seen()._replace(queue=queue._replace(counts=counts)), at=monotonic()))
        assert any(f"{pending:,}" in trouble.message for trouble in troubles(kept)) is told


def test_what_a_look_shows_of_the_workers_waits_for_no_verdict() -> None:
    [worker, *_] = workers()
    refused = worker._replace(note=f"{REFUSED}disk full")
    assert state_of(seen()._replace(workers=(refused, worker)))[1] == GOOD
    assert state_of(seen()._replace(workers=(refused,)))[1] == BAD
    for found, told in (
        (seen()._replace(workers=(refused,)), "disk full"),
        (seen()._replace(running=False), "no worker"),
    ):
        kept = store(found)
        assert any(told in trouble.message for trouble in troubles(kept))
        kept.answered(Answer(Look(), seen(), at=monotonic()))
        judged = Issue(Code.NO_WORKER, told, "", 0, 1, "counts")
        kept.health = Health(datetime.now(UTC), False, (judged,), ())
        assert not troubles(kept)


def test_workers_wait_for_the_database_if_it_refuses_what_all_of_them_write() -> None:
    works, *_ = workers()
    refused = works._replace(note=f"{REFUSED}disk full")
    assert "disk full" in idle(store(seen()._replace(workers=(refused, refused))))
    assert not idle(store(seen()._replace(workers=(refused, works))))


def test_a_provider_that_answers_again_waits_for_no_verdict() -> None:
    kept = store(seen(provider()._replace(state="open", reason="401")))
    judge(kept, 100_000, Issue(Code.PROVIDER_OPEN, "401", "", 1, 0, "s"))
    assert troubles(kept)
    kept.answered(Answer(Look(), seen(provider()), at=monotonic()))
    assert not troubles(kept)


def test_an_outdated_schema_comes_first_and_hides_no_other_problem() -> None:
    kept = store(seen()._replace(running=False))
    pending = kept.overview.queue.counts.pending if kept.overview else 0
    schema, stuck = (Issue(code, code, "", 1, 0, "counts") for code in (Code.SCHEMA, Code.STUCK))
    judge(kept, pending - 1, schema, stuck)
    assert [
        next(word for word in ("schema", "no worker", "pending", "stuck") if word in trouble.message)
        for trouble in troubles(kept)
    ] == ["schema", "no worker", "pending", "stuck"]


@pytest.mark.parametrize(
    ("states", "served", "style"),
    [
        ((), True, GOOD),
        (("closed",), True, GOOD),
        (("cooling",), True, DOUBTFUL),
        (("open",), False, BAD),
        (("open", "cooling"), True, BAD),
        (("open", "closed"), True, GOOD),
    ],
)
def test_where_every_provider_is_held_nothing_runs_and_what_was_done_a_minute_ago_says_nothing(
    states: tuple[str, ...], served: bool, style: str
) -> None:
    rates = Rates(completed=60, failed=0, pending=None, over_s=60)
    breakers = [provider()._replace(key=f"p-{n}", state=state) for n, state in enumerate(states)]
    using = [worker._replace(provider=row.key) for row in breakers for worker in workers()]
    for others in ((), (provider()._replace(key="former", state="open"),)):
        found = seen(*breakers, *others)._replace(workers=tuple(using) or workers())
        assert (drain_s(found, rates) is not None) is served
        assert state_of(found)[1] == style
