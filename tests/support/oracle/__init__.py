"""The oracle: given a database after any run, and the source of the vectors, reports what is wrong.

    await install_witness(connection)           # before the run, so that its history can be checked as well
    assert await judge(connection) == []        # after it

What is compared: the vectors of every article with those of its current text and model (`vectors`); every
task with what its status allows, and its history in the audit log with what a claim may go through
(`states`, `history`); the kept counts with COUNT(*); and, where a witness was installed, every write of a
worker with the claim that was in the row at that moment (`claims`).
"""

from tests.support.oracle.findings import Finding, Kind
from tests.support.oracle.judge import judge
from tests.support.oracle.vectors import Embedding, LocalEmbedding, StubEmbedding
from tests.support.oracle.witness import install_witness

__all__ = ["Embedding", "Finding", "Kind", "LocalEmbedding", "StubEmbedding", "install_witness", "judge"]
