"""The model on this machine: real, offline, fast, and content with any text."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from math import sqrt
from pathlib import Path
from time import perf_counter

import pytest

from embedq_worker.configuration.settings import Settings
from embedq_worker.providers.base import InputRejected, Provider, ProviderMisconfigured, Vector
from embedq_worker.providers.factory import open_provider
from embedq_worker.service.embedder import Embedded, Embedder


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    opened = open_provider(Settings(provider="local"))
    yield opened
    await opened.aclose()


def cosine(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_texts_of_like_meaning_are_nearer(provider: Provider) -> None:
    error, exception, soup = await provider.embed(
        ["How do I handle an error?", "Catching exceptions", "A recipe for tomato soup"]
    )
    assert cosine(error, exception) > cosine(error, soup)
    assert (provider.model, provider.dimensions, provider.endpoint) == ("local/l2_supercat", 256, "local")


@pytest.mark.parametrize(
    "text", ["...", "🚀", "`", "\u200b", "\ud800", "\x00", "数", "ก", " a ", "x" * 200_000]
)
async def test_every_text_gets_a_unit_vector(provider: Provider, text: str) -> None:
    [vector] = await provider.embed([text])
    assert len(vector) == 256
    assert sqrt(cosine(vector, vector)) == pytest.approx(1, abs=1e-5)


async def test_a_text_gets_the_same_vector_in_whatever_company(provider: Provider) -> None:
    texts = [f"text {number} " * (number % 50 + 1) for number in range(300)]
    together = await provider.embed(texts)
    for index in (0, 1, 150, 299):
        [alone] = await provider.embed([texts[index]])
        assert cosine(alone, together[index]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("wanted", "name"), [(64, "@64"), (128, "@128"), (256, "")])
async def test_smaller_vectors_are_another_model(wanted: int, name: str) -> None:
    provider = open_provider(Settings(provider="local", dimensions_wanted=wanted))
    report = await provider.check()
    [vector] = await provider.embed(["text"])
    await provider.aclose()
    assert (len(vector), report.dimensions, report.model) == (wanted, wanted, f"local/l2_supercat{name}")


async def test_a_text_of_a_megabyte_is_embedded_in_parts(provider: Provider) -> None:
    text = "Exceptions are caught with try and except. " * 25_000
    with pytest.raises(InputRejected) as caught:
        await provider.embed([text])
    assert caught.value.too_long
    [outcome] = (await Embedder(provider, concurrency=1).embed([text])).outcomes
    assert isinstance(outcome, Embedded)
    assert outcome.note
    [part] = await provider.embed([text[:10_000]])
    assert cosine(outcome.vector, part) > 0.99


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"model_name": "l3_supercat"}, "EMBEDDING_MODEL=l2_supercat"),
        ({"dimensions_wanted": 768}, "EMBEDDING_DIMENSIONS=256"),
    ],
)
def test_what_the_model_cannot_do_is_refused_with_the_remedy(values: dict[str, object], named: str) -> None:
    with pytest.raises(ProviderMisconfigured) as caught:
        open_provider(Settings(provider="local", **values))  # type: ignore[arg-type]
    assert named in caught.value.advice


async def test_the_loop_goes_on_and_a_cancelled_call_leaves_the_provider_usable(provider: Provider) -> None:
    await provider.check()
    call = asyncio.create_task(provider.embed(["some words " * 200] * 256))
    beats = 0
    while not call.done() and beats < 3:
        await asyncio.sleep(0.001)
        beats += 1
    assert beats == 3
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(await provider.embed(["next"])) == 1


async def test_a_thousand_texts_take_less_than_a_second_or_so(provider: Provider) -> None:
    texts = [
        f"Article {number} tells about queues, workers and vectors in PostgreSQL. " * 5
        for number in range(1_024)
    ]
    await provider.check()
    began = perf_counter()
    for start in range(0, len(texts), provider.limits.inputs):
        await provider.embed(texts[start : start + provider.limits.inputs])
    assert perf_counter() - began < 5  # 0.5 s on an idle machine


def test_a_user_without_a_home() -> None:
    """As systemd's DynamicUser, which the password database need not know."""
    program = """
import asyncio, os, pwd
def nobody(uid): raise KeyError(uid)
pwd.getpwuid = nobody
from embedq_worker.providers.factory import open_provider
from embedq_worker.configuration.settings import Settings
async def main():
    provider = open_provider(Settings(provider="local"))
    await provider.check()
    await provider.aclose()
asyncio.run(main())
assert "HOME" not in os.environ
"""
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


def test_nothing_is_fetched_written_or_printed(tmp_path: Path) -> None:
    """In a process of its own, where a socket is an error and the home is empty."""
    program = """
import asyncio, logging, socket
def refuse(*a, **k): raise AssertionError("network")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from embedq_worker.providers.factory import open_provider
from embedq_worker.configuration.settings import Settings
async def main():
    provider = open_provider(Settings(provider="local"))
    assert len(await provider.embed(["offline"])) == 1
    await provider.aclose()
asyncio.run(main())
assert not logging.getLogger().handlers
"""
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path),
        "HF_HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_other_providers_do_without_the_library() -> None:
    program = """
import sys
from embedq_worker.providers.factory import open_provider
from embedq_worker.configuration.settings import Settings
open_provider(Settings(provider="ollama"))
assert "wordllama" not in sys.modules and "numpy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_the_library_the_remedy_is_told() -> None:
    program = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "wordllama" else find(name, *a)
from embedq_worker.providers.factory import open_provider
from embedq_worker.providers.base import ProviderMisconfigured
from embedq_worker.configuration.settings import Settings
try:
    open_provider(Settings(provider="local"))
except ProviderMisconfigured as error:
    assert "pip install" in error.advice
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", program], check=True)
