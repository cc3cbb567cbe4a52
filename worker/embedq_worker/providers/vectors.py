"""Decode vectors from responses of providers, and refuse those that cannot be stored."""

from __future__ import annotations

import binascii
import sys
from array import array
from base64 import b64decode
from collections.abc import Sequence
from math import isfinite

from embedq_worker.providers.base import (
    InputRejected,
    ProviderMisconfigured,
    ProviderUnavailable,
    Vector,
)


class BrokenAnswer(Exception):
    """A response that violates the protocol; the message continues "the response ..."."""


def vector_of(value: object) -> Vector:
    """Read one embedding of a JSON response.

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
    raise BrokenAnswer("contains something that is not an embedding")


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
    """Check that vectors can be stored.

    Args:
        vectors: As decoded.
        texts: Number of texts sent.
        dimensions: Expected dimensions.
        model: Name for the error message.

    Raises:
        BrokenAnswer: There are more or fewer vectors than texts.
        ProviderMisconfigured: The model returns other dimensions.
        InputRejected: A vector is empty or not finite, which some models return for some texts.
        ProviderUnavailable: A vector is zero, which an overloaded Ollama returns for any text; no search
            would find it.
    """
    if len(vectors) != texts:
        raise BrokenAnswer(f"contains {len(vectors)} vectors for {texts} texts")
    lengths = {len(vector) for vector in vectors} - {0}
    if wrong := lengths - {dimensions}:
        given = min(wrong)
        raise ProviderMisconfigured(
            f"{model} returns vectors of {given} dimensions, but EMBEDDING_DIMENSIONS is {dimensions}",
            f"set EMBEDDING_DIMENSIONS={given}, or change EMBEDDING_MODEL",
        )
    # A sum of float32 values never overflows a double, so it is finite exactly if all of them are.
    if not all(vector and isfinite(sum(vector)) for vector in vectors):
        raise InputRejected(f"{model}: the provider returned a vector that is not finite")
    if not all(map(any, vectors)):
        raise ProviderUnavailable(
            f"{model}: the provider returned a vector of zeros", "is the server overloaded? Restart it"
        )
    return list(vectors)
