"""Embeddings computed on this machine: static word embeddings, no server, no network."""

from __future__ import annotations

import asyncio
import logging
import os
import warnings
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

from embedq_worker.configuration.settings import Settings
from embedq_worker.process.scarcity import scarce
from embedq_worker.providers.base import (
    CheckReport,
    InputRejected,
    ProviderMisconfigured,
    RequestLimits,
    Vector,
)
from embedq_worker.providers.naming import NATIVE_DIMENSIONS, stored_model
from embedq_worker.text import printable_line

_MODEL = "l2_supercat"
_NATIVE = NATIVE_DIMENSIONS[_MODEL]
_DIMENSIONS = (64, 128, 256)
_INPUTS = 256
_NO_LIMIT = 1_000_000
_GROUP_TEXTS = 64
_GROUP_CHARACTERS = 200_000
"""Texts in a group are padded to the longest: about 70 MB per group at 256 dimensions."""


class LocalProvider:
    """`Provider` that computes in a thread of its own, so that it does not block the event loop.

    Args:
        settings: Model and dimensions.

    Raises:
        ProviderMisconfigured: The package is missing, or has no such model or dimensions.
    """

    def __init__(self, settings: Settings) -> None:
        self.dimensions = settings.dimensions
        if find_spec("wordllama") is None:
            raise _not_installed()
        if settings.model != _MODEL:
            raise ProviderMisconfigured(
                f"EMBEDDING_MODEL={settings.model}: the local provider only has {_MODEL}",
                f"set EMBEDDING_MODEL={_MODEL}, or choose another EMBEDDING_PROVIDER",
            )
        if self.dimensions not in _DIMENSIONS:
            raise ProviderMisconfigured(
                f"EMBEDDING_DIMENSIONS={self.dimensions}: {_MODEL} supports 64, 128 or 256",
                f"set EMBEDDING_DIMENSIONS={_NATIVE}",
            )
        self.model = stored_model(settings)
        self.endpoint = "local"  # there is no server
        # The model averages over words, so a text may have any length.
        self.limits = RequestLimits(settings.request_inputs or _INPUTS, _NO_LIMIT)
        self._engine: Any = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedq-local")

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Embed texts as unit vectors; see `Provider.embed`."""
        if max(map(len, texts)) > _GROUP_CHARACTERS:
            # Embedding it in parts gives the same vector, except for rounding, with bounded memory.
            raise InputRejected(f"a text has more than {_GROUP_CHARACTERS} characters", too_long=True)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._compute, list(texts))

    async def check(self) -> CheckReport:
        """Load the model and embed one text; see `Provider.check`."""
        began = perf_counter()
        await self.embed(["embedq check"])
        return CheckReport(self.model, self.dimensions, perf_counter() - began, "computed on this machine")

    async def aclose(self) -> None:
        """Wait for the current computation, and drop those that are waiting."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    def _compute(self, texts: list[str]) -> list[Vector]:
        """Runs in the provider's thread."""
        if self._engine is None:
            self._engine = _load(self.dimensions)
        # The tokenizer does not accept lone surrogates.
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        vectors: dict[int, Vector] = {}
        for group in _groups(clean):
            rows = self._engine.embed([clean[index] for index in group])
            vectors.update((index, _unit(row)) for index, row in zip(group, rows, strict=True))
        return [vectors[index] for index in range(len(texts))]


def _groups(texts: Sequence[str]) -> Iterator[list[int]]:
    """Group indexes of texts of similar length, to waste little on padding and to bound memory."""
    group: list[int] = []
    for index in sorted(range(len(texts)), key=lambda i: len(texts[i])):
        if len(group) == _GROUP_TEXTS or (len(group) + 1) * len(texts[index]) > _GROUP_CHARACTERS:
            if group:
                yield group
            group = []
        group.append(index)
    if group:
        yield group


def _unit(row: Any) -> Vector:
    """A NumPy row scaled to length 1."""
    length = float((row * row).sum()) ** 0.5
    if not length > 0:
        raise InputRejected("the text contains no word that the local model can embed")
    return array("f", (row / length).astype("float32").tobytes())


def _load(dimensions: int) -> Any:
    try:
        wordllama = _import_quietly()
        return wordllama.WordLlama.load(
            _MODEL,
            cache_dir=Path(wordllama.__file__).parent,
            disable_download=True,
            dim=_NATIVE,
            trunc_dim=dimensions,
        )
    except ModuleNotFoundError:
        raise _not_installed() from None
    except ImportError as error:
        cause = error.__cause__ or error  # numpy adds two pages of its own
        limit = scarce(cause)
        raise ProviderMisconfigured(
            f"wordllama cannot be loaded: {printable_line(str(cause), 300)}",
            limit.advice if limit else "pip install --force-reinstall 'embedq-tui[local]'",
        ) from None
    except FileNotFoundError:
        raise ProviderMisconfigured(
            "the installed wordllama package has no weights", "pip install --force-reinstall wordllama"
        ) from None


def _import_quietly() -> Any:
    """Import wordllama, which calls `logging.basicConfig`; that has no effect if a handler exists."""
    root, keeper = logging.getLogger(), logging.NullHandler()
    root.addHandler(keeper)
    try:
        with warnings.catch_warnings(), _some_home():
            warnings.simplefilter("ignore")
            import wordllama
    finally:
        root.removeHandler(keeper)
    return wordllama


@contextmanager
def _some_home() -> Iterator[None]:
    """Provide a home directory, which importing wordllama requires; a systemd DynamicUser may have none."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/"
        try:
            yield
        finally:
            del os.environ["HOME"]
    else:
        yield


def _not_installed() -> ProviderMisconfigured:
    return ProviderMisconfigured(
        "EMBEDDING_PROVIDER=local requires the package wordllama", "pip install 'embedq-tui[local]'"
    )
