"""`embedq-tui failed`: groups, sizes, samples, advice."""

from __future__ import annotations

import re
import time

import pytest

from embedq_worker.errors import ExitCode
from embedq_worker.insights.advice import UNKNOWN, advice_for
from embedq_worker.insights.failures import failures
from tests.commands.running import Tui
from tests.support.content import add_articles, fail
from tests.support.databases import Connection


async def test_nothing_has_failed(tui: Tui) -> None:
    answer = await tui("failed")
    assert (answer.code, answer.err) == (ExitCode.OK, "")
    document = (await tui("failed", "--json")).document("failed")
    assert (document["failed"], document["groups"], document["more"]) == (0, [], False)


async def test_errors_that_differ_in_numbers_are_one_group(tui: Tui, connection: Connection) -> None:
    await fail(connection, "connect ECONNREFUSED 10.0.0.{}:11434", 6)
    await fail(connection, 'model "m{}" not found', 3)
    await fail(connection, None)
    document = (await tui("failed", "--json")).document("failed")
    assert document["failed"] == 10
    assert [group["count"] for group in document["groups"]] == [6, 3, 1]
    assert [group["share"] for group in document["groups"]] == [0.6, 0.3, 0.1]
    first = document["groups"][0]
    assert first["newest"][0]["slug"] == "slug-1"
    assert first["newest"][0]["error"] == "connect ECONNREFUSED 10.0.0.1:11434"
    assert first["first_seen"] < first["last_seen"]
    assert all(group["advice"] for group in document["groups"])
    assert (await tui("failed", "--json")).document("failed")["groups"][0]["fingerprint"] == (
        first["fingerprint"]
    )


@pytest.mark.parametrize(
    "request_id",
    [
        "b83012f78db98764",
        "eeddeeeaacfdab1c",
        "abcdefabcdefabcd",
        "0xdeadbeef",
        "req_3fa1e5bdd4af8f2c81fda97d0ff6a0ea",
        "req_011CSHoEeqs5C35K2UUqR7Fy",
        "req_kJdTsbqWzMbnXcVtYrE3pQaL",
        "01JDK8R3Q6W2X9TZV5YB7C4N1M",
        "1732937410",
        "17",
    ],
)
async def test_errors_that_differ_in_the_id_of_a_request_are_one_group(
    tui: Tui, connection: Connection, request_id: str
) -> None:
    await fail(connection, "overloaded (request 0123456789abcdef)")
    await fail(connection, f"overloaded (request {request_id})")
    assert [group["count"] for group in (await tui("failed", "--json")).document("failed")["groups"]] == [2]


async def test_a_task_of_no_article_is_called_so(tui: Tui, connection: Connection) -> None:
    await connection.execute(
        """INSERT INTO embedding_tasks (operation, status, processed_at, completed_at)
           VALUES ('update', 'failed', now(), now()),
                  ('update', 'processing', now() - interval '2 h', NULL)"""
    )
    for command in (["failed", "--details"], ["stuck"]):
        answer = await tui(*command)
        assert "no article" in answer.out
        assert "None" not in answer.out


async def test_details_show_tasks_folders_and_advice(tui: Tui, connection: Connection) -> None:
    (article,) = await add_articles(connection, ["text"], folder="docs")
    await fail(connection, "boom {}", 5)
    await connection.execute("UPDATE embedding_tasks SET article_id = $1", article)
    answer = await tui("failed", "--details")
    assert answer.code == ExitCode.OK
    ids = await connection.fetch("SELECT id::text FROM embedding_tasks ORDER BY completed_at DESC LIMIT 3")
    assert all(row["id"] in answer.out for row in ids)
    assert UNKNOWN in answer.out
    document = (await tui("failed", "--details", "--json")).document("failed")
    assert [task["id"] for task in document["groups"][0]["newest"]] == [row["id"] for row in ids]
    assert document["groups"][0]["folders"] == [{"folder": "docs", "tasks": 5}]
    assert "docs 5" in answer.out
    for number, folder in ((0, "a"), (1, "b"), (2, "c")):  # of one task each, and three are shown
        (other,) = await add_articles(connection, ["text"], slug=folder, folder=folder)
        await connection.execute(
            "UPDATE embedding_tasks SET article_id = $1 WHERE id = $2::uuid", other, ids[number]["id"]
        )
    await fail(connection, "boom {}", 3)
    await connection.execute("UPDATE embedding_tasks SET article_id = $1 WHERE article_id IS NULL", article)
    document = (await tui("failed", "--details", "--json")).document("failed")
    folders = [(row["folder"], row["tasks"]) for row in document["groups"][0]["folders"]]
    assert folders == [("docs", 5), ("a", 1), ("b", 1)]


async def test_the_advice_for_a_group_or_a_task_retries_nothing_else(
    tui: Tui, connection: Connection
) -> None:
    await fail(connection, "boom {}", 2)
    await fail(connection, "alpha broke")
    groups = (await tui("failed", "--json")).document("failed")["groups"]
    assert len(groups) == 2
    for group in groups:
        assert group["advice"].endswith(f"embedq-tui retry --failed --group {group['fingerprint']}")
        task = group["newest"][0]["id"]
        shown = (await tui("show", task, "--json")).document("show")
        assert shown["advice"].endswith(f"embedq-tui retry {task}")


async def test_what_failed_last_comes_first_if_asked_for(tui: Tui, connection: Connection) -> None:
    await fail(connection, "old", 5)
    await connection.execute("UPDATE embedding_tasks SET completed_at = completed_at - interval '1 day'")
    await fail(connection, "new", 1)
    for options, order in (([], ["old", "new"]), (["--latest"], ["new", "old"])):
        groups = (await tui("failed", "--json", *options)).document("failed")["groups"]
        assert [group["error"] for group in groups] == order
    assert (await tui("failed", "--latest", "--limit", "1")).code == ExitCode.OK
    assert (await tui("failed", "--latest", "--after", "5-00000000")).code == ExitCode.USAGE


async def test_a_cancellation_of_many_hides_none_of_what_failed_before(
    tui: Tui, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedq_worker.insights.failures.LATEST_OF", 2)
    await fail(connection, "folded", 3)
    await connection.execute("SELECT embedq_fold_counts()")
    await fail(connection, "not folded", 1)
    await fail(connection, "Cancelled by administrator", 5)
    await fail(connection, "nobody knows when", 1)
    await fail(connection, "retried", 2)
    await connection.execute("UPDATE embedding_tasks SET status = 'pending' WHERE error_message = 'retried'")
    for error, at in (
        ("folded", "now() - interval '2 hours'"),
        ("not folded", "now() - interval '1 hour'"),
        ("nobody knows when", "NULL"),
    ):
        await connection.execute(
            f"UPDATE embedding_tasks SET completed_at = {at} WHERE error_message = $1", error
        )
    order = ["Cancelled by administrator", "not folded", "folded", "nobody knows when"]
    for limit in (9, 1):
        answer = await tui("failed", "--latest", "--json", "--limit", str(limit))
        assert [group["error"] for group in answer.document("failed")["groups"]] == order[:limit]


async def test_a_limit_says_that_there_are_more(tui: Tui, connection: Connection) -> None:
    for name, count in (("alpha", 2), ("beta", 3), ("gamma", 1)):
        await fail(connection, f"{name} broke", count)
    document = (await tui("failed", "--json", "--limit", "1")).document("failed")
    assert [group["error"] for group in document["groups"]] == ["beta broke"]
    assert document["more"] is True
    assert document["failed"] == 6


async def test_every_group_is_reached_page_by_page(tui: Tui, connection: Connection) -> None:
    for place, name in enumerate("abcdefg"):
        await fail(connection, name, 4 - place // 2)
    await connection.execute("SELECT embedq_fold_counts()")
    await fail(connection, "b", 2)
    await fail(connection, "g", 4)
    await fail(connection, "new", 2)
    await connection.execute("DELETE FROM embedding_tasks WHERE error_message = 'c'")
    whole = (await tui("failed", "--json")).document("failed")["groups"]
    assert len(whole) == 7
    for limit in (1, 2, 3):
        found: list[object] = []
        after: list[str] = []
        while True:
            page = (await tui("failed", "--json", "--limit", str(limit), *after)).document("failed")
            found += page["groups"]
            assert page["more"] == (page["next"] is not None)
            assert page["groups"]
            if not page["more"]:
                break
            after = ["--after", page["next"]]
        assert found == whole
    text = (await tui("failed", "--limit", "6")).out
    (after_text,) = re.findall(r"--after (\S+)", text)
    last = (await tui("failed", "--after", after_text)).out
    assert whole[-1]["fingerprint"] in last
    assert whole[-2]["fingerprint"] not in last


@pytest.mark.parametrize("place", ["", "x", "12", "-1-0123abcd", "99999999999999999999-0123abcd", "1-\x00"])
async def test_a_place_that_is_none_is_refused(tui: Tui, place: str) -> None:
    assert (await tui("failed", "--after", place)).code == ExitCode.USAGE


async def test_what_sql_failed_has_a_time_too(tui: Tui, connection: Connection) -> None:
    await fail(connection, "Cancelled by administrator", 2, completed=False)
    await fail(connection, "Cancelled by administrator", 2)
    group = (await tui("failed", "--json")).document("failed")["groups"][0]
    assert group["count"] == 4
    assert group["last_seen"] is not None
    await connection.execute("DELETE FROM embedding_tasks WHERE completed_at IS NOT NULL")
    group = (await tui("failed", "--json")).document("failed")["groups"][0]
    assert group["last_seen"] is not None


async def test_the_biggest_are_found_before_and_after_counts_are_folded(connection: Connection) -> None:
    async def biggest() -> list[tuple[str, int]]:
        return [(group.error, group.count) for group in (await failures(connection, limit=3)).groups]

    for place, name in enumerate("abcdefg"):
        await fail(connection, name, 10 - place)
    await connection.execute("SELECT embedq_fold_counts()")
    assert await biggest() == [("a", 10), ("b", 9), ("c", 8)]
    await connection.execute("DELETE FROM embedding_tasks WHERE error_message IN ('a', 'b', 'c', 'd')")
    await fail(connection, "g", 20)
    await fail(connection, "new", 4)
    assert await biggest() == [("g", 24), ("e", 6), ("f", 5)]
    await connection.execute("SELECT embedq_fold_counts()")
    assert await biggest() == [("g", 24), ("e", 6), ("f", 5)]


async def test_text_of_others_is_neither_markup_nor_a_command(tui: Tui, connection: Connection) -> None:
    await fail(connection, "[/red] \x1b]52;c;aGk=\x07 \u202e [@click=app.bell]x[/]")
    for arguments in (["failed"], ["failed", "--details"], ["failed", "--json"]):
        answer = await tui(*arguments)
        assert answer.code == ExitCode.OK
        assert "[/red]" in answer.out
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", answer.out)


@pytest.mark.parametrize(
    ("error", "word"),
    [
        ("HTTP 404: model 'nomic-embed-text' not found, try pulling it first", "ollama pull"),
        ("401 Incorrect API key provided", "OPENAI_API_KEY"),
        ("expected 768 dimensions, not 384", "EMBEDDING_DIMENSIONS"),
        ("connect ECONNREFUSED 127.0.0.1:11434", "embedq-tui check"),
        ("http://localhost:11434: All connection attempts failed", "embedq-tui check"),
        ("http://h:1 did not answer within 60 s", "embedq-tui check"),
        ("429 Too Many Requests", "EMBEDDING_CONCURRENT_WORKERS"),
        ("chunk 3: input length exceeds the context length", "CHUNK_SIZE"),
        ("500: llama runner: context deadline exceeded", "embedq-tui check"),
        ("other texts work: http://h:1 answered 500: no", "correct the articles"),
        ("other texts work: http://h:1 answered 500: input length exceeds the context length", "CHUNK_SIZE"),
        ("chunk 1: http://h:1 answered 400: a forbidden word", "correct the articles"),
        ("chunk 404: http://h:1 answered 422: no", "correct the articles"),
        ("chunk 1: http://h:1 answered 400: API key not valid", "OPENAI_API_KEY"),
        ("not embedded within 300 s (EMBEDDING_WORKER_TIMEOUT)", "raise it"),
        ("The worker that held this task died", "memory"),
        ("The claim was held too long", "EMBEDDING_QUEUE_MAX_PROCESSING_TIME"),
        ("Cancelled by administrator", "operator"),
        ("Error: connection to 10.0.0.1 was refused", "could not be reached"),
        ("No connection could be made: the target machine actively refused it", "could not be reached"),
        ("the request was refused by the content filter", UNKNOWN),
        ("the model refused the text", "correct the articles"),
        ("could not extend file: No space left on device", "space"),
    ],
)
def test_advice_fits_the_error(error: str, word: str) -> None:
    assert word in advice_for(error)


def test_advice_for_an_error_of_any_size_takes_no_time() -> None:
    error = "HTTP 429 " + "expected one of different " * 200_000
    began = time.process_time()
    assert "EMBEDDING_CONCURRENT_WORKERS" in advice_for(error)
    assert time.process_time() - began < 1.0
