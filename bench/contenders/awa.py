"""awa: a core in Rust, jobs as appended entries, receipts in partitions; the handler does nothing.

It drops finished jobs within seconds by default, so its tables stay small; nothing else here does.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import perf_counter

import awa

from bench.contenders import Gate, Started

WORKERS = 256
CLAIMERS = 2
BATCH = 500


@dataclass
class Noop:
    """A job."""

    n: int


class Awa:
    """See the module."""

    setting = f"{WORKERS} workers, {CLAIMERS} claimers, claims of {BATCH}"
    insert = """SELECT id FROM awa.insert_job_compat(
                    'noop', 'default', '{"n": 1}'::jsonb, 'available'::awa.job_state, 2::smallint,
                    25::smallint, NULL::timestamptz, '{}'::jsonb, '{}'::text[], NULL, NULL::bit(8),
                    NULL::bytea)"""

    async def prepare(self, url: str) -> None:
        """Its own migrations."""
        async with awa.AsyncClient(url) as client:
            await client.migrate()
            await client.install_queue_storage()

    async def enqueue(self, url: str, jobs: int) -> float:
        """1,000 a COPY."""
        async with awa.AsyncClient(url) as client:
            began = perf_counter()
            for start in range(0, jobs, 1_000):
                await client.enqueue_many_copy([Noop(n) for n in range(start, min(start + 1_000, jobs))])
            return perf_counter() - began

    async def drain(self, url: str, gate: Gate) -> float:
        """Counted in the handler: it has no mode that ends with the queue."""
        client = awa.AsyncClient(url, max_connections=20)
        left = await _waiting(client)
        done = asyncio.Event()

        @client.task(Noop, queue="default")
        async def noop(job: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                done.set()

        await gate()
        began = perf_counter()
        await client.start(
            [{"name": "default", "max_workers": WORKERS, "claimers": CLAIMERS, "claim_batch_size": BATCH}]
        )
        await done.wait()
        seconds = perf_counter() - began
        await client.shutdown()
        return seconds

    async def serve(self, url: str, started: Started) -> None:
        """As it comes."""
        client = awa.AsyncClient(url)

        @client.task(Noop, queue="default")
        async def noop(job: object) -> None:
            started()

        await client.start([("default", 8)])
        await asyncio.Event().wait()


async def _waiting(client: awa.AsyncClient) -> int:
    return sum(stat.available for stat in await client.queue_stats())


CONTENDER = Awa()
