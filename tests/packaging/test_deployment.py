"""Unit, image and compose file name only what there is: options, commands, settings, files."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from embedq_worker.configuration.settings import Settings
from embedq_worker.insights.issues import Code
from embedq_worker.service.service_manager import FAREWELL_S, STATUS_EVERY_S
from tests.support.command_line import understand
from tests.support.dockerfile import instructions
from tests.support.settings_table import variables

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "worker" / "systemd" / "embedq-worker.service"
DOCKERFILE = ROOT / "worker" / "Dockerfile"
COMPOSE = ROOT / "worker" / "compose.yaml"


class TestUnit:
    """worker/systemd/embedq-worker.service"""

    def read(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for line in UNIT.read_text("utf-8").splitlines():
            if "=" in line and not line.startswith("#"):
                name, _, value = line.partition("=")
                found[name].append(value)
        return found

    def test_starts_what_there_is(self) -> None:
        understand(shlex.split(self.read()["ExecStart"][0]))

    def test_hears_the_worker_in_time(self) -> None:
        unit = self.read()
        assert unit["Type"] == ["notify"]
        assert float(unit["WatchdogSec"][0]) >= 3 * STATUS_EVERY_S

    def test_waits_longer_than_the_grace_time(self) -> None:
        grace_s = Settings.model_fields["shutdown_grace_ms"].default / 1000
        assert float(self.read()["TimeoutStopSec"][0]) >= grace_s + FAREWELL_S

    @pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
    def test_systemd_has_nothing_to_say_against_it(self, tmp_path: Path) -> None:
        copy = tmp_path / UNIT.name
        copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text("utf-8")))
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


class TestImage:
    """worker/Dockerfile"""

    def test_runs_what_there_is(self) -> None:
        last = {one.name: one for one in instructions(DOCKERFILE) if one.stage == 1}
        understand(last["ENTRYPOINT"].words() + last["CMD"].words())

    def test_asks_for_its_health_by_the_real_command(self) -> None:
        (check,) = (one for one in instructions(DOCKERFILE) if one.name == "HEALTHCHECK")
        line = check.words()
        understand(line)
        ignored = [word for before, word in pairwise(line) if before == "--ignore"]
        assert {Code.NO_WORKER, Code.SCHEMA, Code.STALLED, Code.STUCK} == set(Code) - set(ignored)

    def test_is_not_root(self) -> None:
        (user,) = (one.text for one in instructions(DOCKERFILE) if one.name == "USER")
        assert user not in ("root", "0")

    def test_what_it_copies_is_in_its_context(self) -> None:
        let_in = [
            line[1:]
            for line in DOCKERFILE.with_suffix(".dockerignore").read_text("utf-8").splitlines()
            if line.startswith("!")
        ]
        copied = [
            word for one in instructions(DOCKERFILE) if one.name == "COPY" for word in one.text.split()[:-1]
        ]
        mounted = re.findall(r"source=([^/,][^,\s]*)", DOCKERFILE.read_text("utf-8"))
        for source in copied + mounted:
            assert (ROOT / source).exists()
            assert [name for name in let_in if Path(name).is_relative_to(source)], source


class TestCompose:
    """worker/compose.yaml"""

    @pytest.fixture
    def services(self) -> dict[str, dict[str, object]]:
        found = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]
        assert isinstance(found, dict)
        return found

    def test_sets_only_settings_there_are(self, services: dict[str, dict[str, object]]) -> None:
        environment = services["worker"]["environment"]
        assert isinstance(environment, dict)
        assert set(environment) <= variables()

    def test_starts_only_what_there_is(self, services: dict[str, dict[str, object]]) -> None:
        entrypoint = services["migrate"]["entrypoint"]
        assert isinstance(entrypoint, list)
        understand(entrypoint)

    def test_waits_for_what_can_be_waited_for(self, services: dict[str, dict[str, object]]) -> None:
        for service in services.values():
            waits = service.get("depends_on", {})
            assert isinstance(waits, dict)
            for name, how in waits.items():
                if how["condition"] == "service_healthy":
                    assert "healthcheck" in services[name]

    def test_gives_a_worker_time_to_end(self, services: dict[str, dict[str, object]]) -> None:
        grace_s = Settings.model_fields["shutdown_grace_ms"].default / 1000
        assert float(str(services["worker"]["stop_grace_period"]).removesuffix("s")) >= grace_s + FAREWELL_S
