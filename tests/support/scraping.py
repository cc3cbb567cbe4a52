"""Query the metrics port of a worker as Prometheus and probes do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.worker_process import WorkerProcess

MONITORING = Path(__file__).parents[2] / "docs" / "monitoring"

Labels: TypeAlias = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Exposition:
    """A parsed exposition.

    Attributes:
        types: Of the families, by name.
        samples: Values by name and labels.
    """

    types: dict[str, str]
    samples: dict[tuple[str, Labels], float]

    @property
    def names(self) -> set[str]:
        """Of the samples."""
        return {name for name, _ in self.samples}

    def value(self, name: str, **labels: str) -> float:
        """The value of the one sample with these labels."""
        return self.samples[name, frozenset(labels.items())]

    def labels(self, name: str) -> set[Labels]:
        """The sets of labels of a sample."""
        return {labels for known, labels in self.samples if known == name}


def parse(text: str) -> Exposition:
    """Parse the text format; duplicates and families without help are errors."""
    types: dict[str, str] = {}
    samples: dict[tuple[str, Labels], float] = {}
    for family in text_string_to_metric_families(text):
        assert family.name not in types, family.name
        assert family.documentation, family.name
        types[family.name] = family.type
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in samples, key
            samples[key] = sample.value
    return Exposition(types, samples)


async def metrics_url(worker: WorkerProcess) -> str:
    """Address of a worker that was started with port 0."""
    await worker.until_heard("metrics served")
    (line,) = [line for line in worker.logs if line["event"] == "metrics served"]
    return f"http://{line['host']}:{line['port']}"


async def ask(url: str, path: str) -> httpx.Response:
    """One request."""
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        return await client.get(url + path)


async def scrape(url: str) -> Exposition:
    """/metrics, parsed."""
    answer = await ask(url, "/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return parse(answer.text)


async def scraped(url: str, name: str, wanted: float, **labels: str) -> Exposition:
    """Scrape until a sample has this value.

    Raises:
        TimeoutError: It has not in time.
    """
    async with asyncio.timeout(20):
        while (found := await scrape(url)).value(name, **labels) != wanted:  # noqa: ASYNC110 - it is polled
            await asyncio.sleep(0.05)
    return found


def expected_names(types: Iterable[tuple[str, str]]) -> set[str]:
    """Names under which families can be queried, the suffixes of histograms and counters with them."""
    names: set[str] = set()
    for name, kind in types:
        match kind:
            case "histogram":
                names |= {f"{name}_{suffix}" for suffix in ("bucket", "sum", "count")}
            case "counter":
                names.add(f"{name}_total")
            case _:
                names.add(name)
    return names
