"""Procrastinate: psycopg, as many jobs at once as pays, finished jobs are kept, as ours are."""

from __future__ import annotations

from time import perf_counter

from procrastinate import App, PsycopgConnector

from bench.contenders import Gate, Started

CONCURRENCY = 20


class Procrastinate:
    """See the module."""

    setting = f"concurrency {CONCURRENCY}, a pool of {CONCURRENCY}"
    insert = """INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('default', 'noop')"""

    def _app(self, url: str, started: Started = lambda: None) -> App:
        app = App(connector=PsycopgConnector(conninfo=url, min_size=4, max_size=CONCURRENCY))

        @app.task(name="noop", queue="default")
        async def noop() -> None:
            started()

        return app

    async def prepare(self, url: str) -> None:
        """Its own schema."""
        async with self._app(url).open_async() as app:
            await app.schema_manager.apply_schema_async()

    async def enqueue(self, url: str, jobs: int) -> float:
        """1,000 a call."""
        async with self._app(url).open_async() as app:
            task = app.tasks["noop"]
            began = perf_counter()
            for start in range(0, jobs, 1_000):
                await task.batch_defer_async(*({} for _ in range(min(1_000, jobs - start))))
            return perf_counter() - began

    async def drain(self, url: str, gate: Gate) -> float:
        """Until it has caught up."""
        async with self._app(url).open_async() as app:
            await gate()
            began = perf_counter()
            await app.run_worker_async(wait=False, concurrency=CONCURRENCY)
            return perf_counter() - began

    async def serve(self, url: str, started: Started) -> None:
        """As it comes."""
        async with self._app(url, started).open_async() as app:
            await app.run_worker_async(wait=True)


CONTENDER = Procrastinate()
