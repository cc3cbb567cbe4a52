"""Faults that the provider stub can inject, and its counters."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Literal

_REMEMBERED = 10_000


class Fault(StrEnum):
    """How an embedding request goes wrong."""

    NONE = "none"
    STATUS = "status"
    DROP_BEFORE = "drop-before"
    DROP_MIDDLE = "drop-middle"
    MALFORMED = "malformed"
    EMPTY_OBJECT = "empty-object"
    WRONG_DIMENSIONS = "wrong-dimensions"
    WRONG_COUNT = "wrong-count"
    REVERSED = "reversed"
    WRONG_INDEXES = "wrong-indexes"
    NOT_FINITE = "not-finite"
    ZEROS = "zeros"
    HUGE = "huge"
    TRICKLE = "trickle"
    REDIRECT = "redirect"


@dataclass(slots=True)
class Faults:
    """Knobs, which may be changed while the stub runs. Initially nothing goes wrong.

    Attributes:
        fault: What happens to the embedding requests that are hit.
        times: How many more requests are hit; None for no end. Counts itself down.
        every: Only each nth request is hit (counted from the first the stub ever got).
        status: Of `Fault.STATUS`.
        headers: Sent along with the status.
        body: Sent with the status; None for an error in the words of the protocol.
        message: Message and code of an error in the words of the protocol.
        code: Machine-readable code of that error (OpenAI).
        latency_s: Seconds before the answer to each embedding request.
        latency_per_input_s: Seconds more per text.
        poison: A text that contains it spoils its whole request.
        poison_status: The status of such a request.
        crash: A text that contains it makes the server fail with 500.
        slow: A text that contains it is never answered.
        poison_vector: A text that contains it gets a vector that is not finite.
        max_characters: A longer text spoils its request in the way the protocol words it; 0 for no limit.
        api_key: Anything else as bearer token gets 401; empty for no check.
        model: Any other model gets 404; empty for no check.
        max_inputs: More texts in a request are refused; 0 for no limit.
        max_inputs_status: The status they are refused with.
        encoding: What happens to ``encoding_format``.
        encoding_status: The status it is refused with.
        caches: Requests it has complied with once are answered whatever happens, as by a caching gateway.
        hold: While set to an event, answers wait for it; lets a test look at requests in flight.
    """

    fault: Fault = Fault.NONE
    times: int | None = None
    every: int = 1
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    message: str = "stub fault"
    code: str | None = None
    latency_s: float = 0.0
    latency_per_input_s: float = 0.0
    poison: str = ""
    poison_status: int = 400
    crash: str = ""
    slow: str = ""
    poison_vector: str = ""
    max_characters: int = 0
    api_key: str = ""
    model: str = ""
    max_inputs: int = 0
    max_inputs_status: int = 400
    encoding: Literal["obey", "ignore", "refuse"] = "obey"
    encoding_status: int = 400
    caches: bool = False
    hold: asyncio.Event | None = None

    def turn(self, knobs: Mapping[str, Any]) -> None:
        """Set these knobs, and reset all others."""
        fresh = Faults(**knobs)
        for knob in fields(self):
            setattr(self, knob.name, getattr(fresh, knob.name))


OUTAGES: Mapping[str, Mapping[str, Any]] = {
    "500": {"fault": Fault.STATUS, "status": 500},
    "503 with Retry-After": {"fault": Fault.STATUS, "status": 503, "headers": {"Retry-After": "0.1"}},
    "429": {"fault": Fault.STATUS, "status": 429, "headers": {"Retry-After": "0.1"}},
    "401": {"api_key": "another"},
    "408": {"fault": Fault.STATUS, "status": 408},
    "no money": {"fault": Fault.STATUS, "status": 429, "code": "insufficient_quota"},
    "refuses everything": {"fault": Fault.STATUS, "status": 400},
    "dropped": {"fault": Fault.DROP_BEFORE},
    "half an answer": {"fault": Fault.DROP_MIDDLE},
    "no JSON": {"fault": Fault.MALFORMED},
    "an empty object": {"fault": Fault.EMPTY_OBJECT},
    "other dimensions": {"fault": Fault.WRONG_DIMENSIONS},
    "too few vectors": {"fault": Fault.WRONG_COUNT},
    "wrong indexes": {"fault": Fault.WRONG_INDEXES},
    "nothing finite": {"fault": Fault.NOT_FINITE},
    "nothing but zeros": {"fault": Fault.ZEROS},
    "an endless answer": {"fault": Fault.HUGE},
    "a trickle": {"fault": Fault.TRICKLE},
    "elsewhere": {"fault": Fault.REDIRECT},
    "another model": {"model": "another"},
    "silence": {"latency_s": 60.0},
    "an error of a million characters": {"fault": Fault.STATUS, "status": 500, "body": "x" * 1_000_000},
    "an error that commands a terminal": {
        "fault": Fault.STATUS,
        "status": 500,
        "message": "\x1b[2J\x1b]52;c;aGk=\x07",
    },
}
"""Faults for which no task is to blame."""

FOR_GOOD = ("refuses everything", "nothing finite")
"""Faults blamed on a text, unless they hit every text."""


@dataclass(slots=True)
class Counters:
    """What the stub saw of embedding requests.

    Attributes:
        requests: Embedding requests, answered or not.
        inputs: Texts in them.
        connections: TCP connections accepted.
        in_flight: Requests being answered now.
        max_in_flight: The most there were at a time.
        texts: The last 10,000 texts, oldest first.
        sizes: Texts per request, of the last 10,000 requests.
        payloads: The last 100 JSON bodies, without their texts.
        authorizations: The last 100 values of the header; empty where there was none.
    """

    requests: int = 0
    inputs: int = 0
    connections: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    texts: deque[str] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    sizes: deque[int] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    payloads: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=100))
    authorizations: deque[str] = field(default_factory=lambda: deque(maxlen=100))
