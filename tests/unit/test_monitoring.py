"""Alert rules, dashboard and their page speak of metrics that are there, and of all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import yaml

from embedq_worker.insights.health import Health
from embedq_worker.insights.issues import Code
from embedq_worker.insights.overview import Control, Overview, ProviderRow, QueueFigures, StatusCounts
from embedq_worker.service.exposition import DatabaseState, WorkerTelemetry
from tests.support.scraping import MONITORING, expected_names

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GUIDE = MONITORING.parent / "monitoring.md"

_METRIC = re.compile(r"\b(?:embedq|process)_[a-z_]+")
_LABELS = re.compile(r"\b(embedq_[a-z_]+)\{([^}]*)\}")
_MATCHER = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*\"([^\"]*)\"")


def families() -> dict[str, tuple[str, list[dict[str, str]]]]:
    """Every family that a worker may tell: kind, and the labels of its samples."""
    figures = QueueFigures(
        StatusCounts(), 0, dict.fromkeys(("high", "normal", "low"), StatusCounts()), NOW, NOW, NOW, NOW
    )
    provider = ProviderRow("m e", "open", "", "", "", 1, NOW, NOW)
    seen = Overview(NOW, True, True, figures, (), None, Control(None, None, None, None), (provider,))
    collector = WorkerTelemetry("m", 1, lambda: 0).families(DatabaseState(seen, Health(NOW, True, (), ())))
    return {
        family.name: (family.type, [sample.labels for sample in family.samples])
        for family in collector.collect()
    }


def names() -> set[str]:
    """Names that can be queried."""
    known = families()
    return expected_names((name, kind) for name, (kind, _) in known.items()) | {"embedq_worker_info"}


def rules() -> list[dict[str, Any]]:
    """The alert rules."""
    (group,) = yaml.safe_load((MONITORING / "alerts.yml").read_text("utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def dashboard_queries() -> Iterator[str]:
    """The queries of the dashboard."""
    dashboard = json.loads((MONITORING / "grafana.json").read_text("utf-8"))
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in dashboard["templating"]["list"]:
        yield str(variable.get("definition", ""))


def assert_known(query: str) -> None:
    """Its metrics exist, and each label it asks for can have a value that is asked for."""
    used = set(_METRIC.findall(query))
    assert used <= names(), (used - names(), query)
    known = families()
    for metric, matchers in _LABELS.findall(query):
        family = re.sub(r"_(bucket|sum|count|total)$", "", metric)
        for label, operator, value in _MATCHER.findall(matchers):
            if label in ("job", "instance"):  # Prometheus' own
                continue
            values = {labels[label] for labels in known[family][1] if label in labels}
            assert values, (query, label)
            if operator in ("=", "=~"):
                assert set(value.split("|")) <= values, (query, label, values)


def test_alert_rules_are_whole_and_use_what_is_there() -> None:
    assert len({rule["alert"] for rule in rules()}) == len(rules()) > 5
    for rule in rules():
        assert_known(rule["expr"])
        assert re.fullmatch(r"\d+[mh]", rule["for"])
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        told = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
        kept = set(re.findall(r"\w+", " ".join(re.findall(r"\bby \(([^)]*)\)", rule["expr"]))))
        aggregates = re.search(r"\b(sum|max|min|avg)\b", rule["expr"])
        assert told <= (kept if aggregates else {"instance", "job"}), rule["alert"]


def test_the_dashboard_uses_what_is_there() -> None:
    queries = list(dashboard_queries())
    assert len(queries) > 10
    for query in queries:
        assert_known(query)


def test_the_dashboard_has_a_place_for_each_panel() -> None:
    dashboard = json.loads((MONITORING / "grafana.json").read_text("utf-8"))
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert cells
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24  # columns of Grafana's grid
        taken |= cells
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for source in [panel, *panel["targets"]]:
            assert source["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    used = set(re.findall(r"\$(\w+)", " ".join(dashboard_queries())))
    assert used <= {variable["name"] for variable in dashboard["templating"]["list"]} | {"__rate_interval"}


def test_the_guide_lists_every_metric() -> None:
    told = set(re.findall(r"^\| `([a-z_]+)", GUIDE.read_text("utf-8"), re.MULTILINE))
    suffixed = {name if kind != "counter" else f"{name}_total" for name, (kind, _) in families().items()}
    assert told == {name for name in suffixed - {"embedq_worker"} if name.startswith("embedq_")} | {
        "embedq_worker_info"
    }


def test_names_follow_the_conventions() -> None:
    for name, (kind, labels) in families().items():
        assert re.fullmatch(r"(embedq|process)_[a-z_]+", name)
        assert kind in ("gauge", "counter", "histogram", "info")
        if name.startswith("embedq_") and kind == "histogram":
            assert name.endswith("_seconds")
        assert len({tuple(sorted(one.items())) for one in labels}) <= 60


def test_the_exposition_has_a_sample_for_every_code() -> None:
    _, labels = families()["embedq_health_issue"]
    assert {one["code"] for one in labels} == set(Code)
