"""Turn what providers send into vectors, and refuse what cannot be stored."""

from __future__ import annotations

import binascii
import sys
from array import array
from base64 import b64decode
from collections.abc import Sequence
from math import isfinite

from embedq_worker.providers.base import InputRejected, ProviderMisconfigured, Vector


class BrokenAnswer(Exception):
    """An answer that is not what the protocol says; the message goes on from "the answer ..."."""


def vector_of(value: object) -> Vector:
    """Read one embedding of a JSON answer.

    Args:
        value: A list of numbers, or base64 of little-endian float32.

    Raises:
        BrokenAnswer: It is neither.
    """
    try:
        if isinstance(value, str):
            return _from_base64(value)
        if isinstance(value, list):
            return array("f", value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise BrokenAnswer("holds something that is not an embedding")


def _from_base64(text: str) -> Vector:
    vector = array("f")
    try:
        vector.frombytes(b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError from error
    if sys.byteorder == "big":
        vector.byteswap()
    return vector


def checked(vectors: Sequence[Vector], *, texts: int, dimensions: int, model: str) -> list[Vector]:
    """Let through only vectors that can be stored.

    Args:
        vectors: As decoded.
        texts: How many were asked for.
        dimensions: Components each must have.
        model: Name for the error message.

    Raises:
        BrokenAnswer: There are more or fewer vectors than texts.
        ProviderMisconfigured: The model gives another number of components.
        InputRejected: A vector is empty or not finite, which some models answer to some texts.
    """
    if len(vectors) != texts:
        raise BrokenAnswer(f"holds {len(vectors)} vectors for {texts} texts")
    lengths = {len(vector) for vector in vectors} - {0}
    if wrong := lengths - {dimensions}:
        given = min(wrong)
        raise ProviderMisconfigured(
            f"{model} gives vectors of {given} components, EMBEDDING_DIMENSIONS is {dimensions}",
            f"set EMBEDDING_DIMENSIONS={given}, or change EMBEDDING_MODEL",
        )
    # The sum of float32 values in a double overflows never, so it is finite exactly when all of them are.
    if not all(vector and isfinite(sum(vector)) for vector in vectors):
        raise InputRejected(f"{model}: the provider returned a vector that is not finite")
    return list(vectors)
