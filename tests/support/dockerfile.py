"""Parse Dockerfiles, as far as ours needs it: instructions, continued lines, JSON forms."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Instruction:
    """One of them.

    Attributes:
        stage: Number of its FROM, from 0; -1 before the first.
        name: In capitals.
        text: Everything after it, on one line.
    """

    stage: int
    name: str
    text: str

    def words(self) -> list[str]:
        """The list of a JSON form."""
        found = json.loads(self.text[self.text.index("[") :])
        assert isinstance(found, list)
        return [str(word) for word in found]


def instructions(path: Path) -> list[Instruction]:
    """All instructions of a Dockerfile, in order."""
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.lstrip().startswith("#")]
    found: list[Instruction] = []
    stage = -1
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, _, text = line.strip().partition(" ")
        if not name:
            continue
        stage += name == "FROM"
        found.append(Instruction(stage, name, text.strip()))
    return found
