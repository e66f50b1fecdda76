"""The alerts and the dashboard that are shipped, against the metrics that there are."""

import importlib.util
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from prometheus_client.samples import Sample

from jobqueue_bridge.metrics import QueueMetrics
from jobqueue_bridge.settings import Settings
from tests.programs import promtool

CONTRIB = Path(__file__).parents[2] / "contrib"
ALERTS = CONTRIB / "prometheus/alerts.yml"
DASHBOARD = CONTRIB / "grafana/dashboard.json"
_SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "info": ["_info"]}


@pytest.fixture
def metrics(database: sa.Engine, settings: Settings) -> set[str]:
    families = list(QueueMetrics(database, settings).collect())
    assert all(isinstance(sample, Sample) for family in families for sample in family.samples)
    return {family.name + suffix for family in families for suffix in _SUFFIXES.get(family.type, [""])}


def _expressions(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "expr")
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from _expressions(each)


def _named(text: str) -> set[str]:
    return set(re.findall(r"\bmedia_[a-z_]+", text))


def test_every_alert_is_about_metrics_that_there_are(metrics: set[str]) -> None:
    named = {name for text in _expressions(yaml.safe_load(ALERTS.read_text())) for name in _named(text)}
    assert len(named) > 8
    assert named <= metrics


def test_every_panel_shows_metrics_that_there_are(metrics: set[str]) -> None:
    named = {name for text in _expressions(json.loads(DASHBOARD.read_text())) for name in _named(text)}
    assert len(named) > 15
    assert named <= metrics


def test_the_dashboard_is_what_its_program_writes() -> None:
    spec = importlib.util.spec_from_file_location("dashboard", DASHBOARD.with_suffix(".py"))
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    assert DASHBOARD.read_text() == program.build()


def _promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool(), *arguments], cwd=ALERTS.parent, capture_output=True, text=True)


def test_prometheus_takes_the_alerts() -> None:
    checked = _promtool("check", "rules", ALERTS.name)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_fires_when_it_should_and_not_otherwise() -> None:
    tested = _promtool("test", "rules", "alerts.test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    rules = {rule["alert"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]}
    tests = yaml.safe_load((ALERTS.parent / "alerts.test.yml").read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == rules
