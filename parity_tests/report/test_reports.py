"""Reports for programs: JSON against its schema, JUnit XML against the rules of Ant's."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from inception_parity.checking.result import CheckResult
from inception_parity.checking.task import Settings, Subject
from inception_parity.comparison.comparing import UNJUDGED, compare
from inception_parity.diagnosis import Diagnosis, Finding
from inception_parity.report import junit, record
from inception_parity.workers.request import Outcome

from ..support import tiny

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "inception_parity" / "report" / "check.schema.json").read_text())
DOCUMENTED = (ROOT / "docs" / "json.md").read_text()


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> CheckResult:
    """Return a check with all that can occur: agreement, errors, a crash, a missing dtype."""
    _, (right, bad) = tiny.reports(tmp_path_factory.mktemp("traces"))
    bad.report.loader.append("stem.conv.weight: 1 of 9 elements are not as loaded & more")
    bad.report.endpoints[0].verdict = UNJUDGED
    finding = Finding("padding", "pads", None, 1e-16, "pad = 1")
    diagnosis = Diagnosis("x", "conv", [finding], finding, (3, 1), "a note", ["y"])
    worst = bad.report.endpoints[-1]
    worst.problem, worst.rel_l2 = "2 NaN <and> \x00 a control character", None
    options = {"in_channels": 3, "batch_norm": False}
    subject = Subject("googlenet", options, "seed <0>", 64 * "a", ("cat & dog.png",), (32, 48))
    settings = Settings(("pt", "tf", "mx"), ("float64", "bfloat16"))
    outcomes = {
        "pt": Outcome("pt", unsupported={"bfloat16": "no <such> dtype"}),
        "tf": Outcome("tf", seconds=1.5, peak_memory=1 << 30),
        "mx": Outcome("mx", "failed", "killed by SIGKILL\n  | last \x1b[31mwords"),
    }
    reports = [right.report, bad.report]
    return CheckResult(subject, settings, outcomes, reports, [], {bad.report.cell: diagnosis})


# JSON.


def validate(found: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(found, SCHEMA, jsonschema.Draft202012Validator)


def objects(schema: Any) -> list[dict[str, Any]]:
    """Return every schema of an object with named keys."""
    if isinstance(schema, list):
        return [found for inner in schema for found in objects(inner)]
    if not isinstance(schema, dict):
        return []
    inside = [found for inner in schema.values() for found in objects(inner)]
    return ([schema] if isinstance(schema.get("properties"), dict) else []) + inside


def test_report_is_valid(result):
    validate(json.loads(record.dumps(record.check_record([result]))))


def test_report_with_infinities_is_valid(tmp_path):
    values = tiny.arrays()
    oracle = tiny.trace(tmp_path / "np", "np", {**values, "fc": 0 * values["fc"]})
    report = compare(tiny.trace(tmp_path / "pt", "pt", values), oracle)
    assert any(e.rel_l2 == np.inf for e in report.endpoints)
    shared = {"$ref": "#/$defs/report", "$defs": SCHEMA["$defs"]}
    jsonschema.validate(json.loads(record.dumps(record.report_record(report))), shared)


def test_every_key_is_required_and_no_other_allowed():
    found = objects(SCHEMA)
    assert len(found) >= 9
    for schema in found:
        assert set(schema["required"]) == set(schema["properties"])
        assert schema["additionalProperties"] is False


def test_every_key_of_the_schema_is_documented():
    words = set(re.findall(r"`([a-z0-9_]+)`", DOCUMENTED))
    assert {key for schema in objects(SCHEMA) for key in schema["properties"]} <= words


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("format",), "inception-parity report 2"),
        (("checks", 0, "size"), [32]),
        (("checks", 0, "weights", "sha256"), "abc"),
        (("checks", 0, "reports", 0, "mode"), "sideways"),
        (("checks", 0, "reports", 0, "endpoints", 0, "rel_l2"), -1),
        (("checks", 0, "reports", 0, "endpoints", 0, "surprise"), 1),
        (("checks", 0, "outcomes", "mx", "status"), "tired"),
    ],
)
def test_schema_refuses(result, where, value):
    found = json.loads(record.dumps(record.check_record([result])))
    *path, last = where
    place = found
    for step in path:
        place = place[step]
    place[last] = value
    with pytest.raises(jsonschema.ValidationError):
        validate(found)


# JUnit. The rules are those of the schema for Apache Ant's JUnit task, as published by Windy Road.

SUITE = {"name", "timestamp", "hostname", "tests", "failures", "errors", "time", "package", "id"}
CASE = {"name", "classname", "time"}


def require_valid(suites: ET.Element) -> None:
    assert (suites.tag, suites.attrib) == ("testsuites", {})
    for number, suite in enumerate(suites):
        assert suite.tag == "testsuite"
        assert SUITE <= set(suite.attrib) <= SUITE | {"skipped"}
        assert suite.get("id") == str(number)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp", ""))
        assert suite.get("hostname", "").strip()
        first, *cases, out, err = suite
        assert [e.tag for e in (first, out, err)] == ["properties", "system-out", "system-err"]
        for entry in first:
            assert (entry.tag, set(entry.attrib)) == ("property", {"name", "value"})
            assert entry.get("name", "").strip()
        for case in cases:
            require_valid_case(case)
        for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(count, "0")) == len(suite.findall(f"testcase/{tag}"))
        assert int(suite.get("tests", "")) == len(cases)
        assert float(suite.get("time", "")) >= 0


def require_valid_case(case: ET.Element) -> None:
    assert (case.tag, set(case.attrib)) == ("testcase", CASE)
    assert re.fullmatch(r"\d+(\.\d+)?", case.get("time", ""))  # a decimal has no exponent
    assert len(case) <= 1
    for said in case:
        assert said.tag in ("skipped", "error", "failure")
        if said.tag != "skipped":
            assert {"type"} <= set(said.attrib) <= {"type", "message"}


@pytest.fixture(scope="module")
def suites(result) -> dict[str, ET.Element]:
    root = ET.fromstring(junit.dumps([result]))
    require_valid(root)
    return {suite.get("name", ""): suite for suite in root}


def test_suites_are_runs_and_what_did_not_run(suites):
    assert list(suites) == [
        "googlenet.pt.float64.propagated",
        "googlenet.tf.float64.propagated",
        "googlenet.pt.bfloat16",
        "googlenet.mx",
    ]


def test_a_case_is_an_endpoint(suites, result):
    for suite, report in zip(suites.values(), result.reports, strict=False):
        names = [case.get("name") for case in suite.findall("testcase")]
        assert [n for n in names if n != "weights"] == [e.name for e in report.endpoints]
    assert not suites["googlenet.pt.float64.propagated"].findall("testcase/failure")


def test_failures_say_where_it_starts(suites):
    suite = suites["googlenet.tf.float64.propagated"]
    failing = {c.get("name"): c.find("failure") for c in suite.findall("testcase") if len(c)}
    culprit = failing[tiny.CULPRIT]
    assert culprit is not None and culprit.get("type") == "wrong"
    assert culprit.get("message", "").startswith("starts here: conv 1x1: rel L2 ")
    carried = failing["mixed.concat"]
    assert carried is not None
    assert not carried.get("message", "").startswith("starts here")
    assert "largest difference 5" in (carried.text or "")
    assert suite.find("testcase[@name='input']/skipped") is not None  # it wasn't judged
    loader = failing["weights"]
    assert loader is not None and "are not as loaded & more" in (loader.text or "")


def test_what_did_not_run_is_an_error_or_skipped(suites):
    error = suites["googlenet.mx"].find("testcase/error")
    assert error is not None
    assert (error.get("type"), error.get("message")) == ("failed", "killed by SIGKILL")
    assert "last \ufffd[31mwords" in (error.text or "")  # XML has no escape character
    skipped = suites["googlenet.pt.bfloat16"].find("testcase/skipped")
    assert skipped is not None and skipped.get("message") == "no <such> dtype"


def test_no_failure_is_a_file_without_failures(result):
    sound = CheckResult(result.subject, result.settings, {}, result.reports[:1], [])
    text = junit.dumps([sound, sound])
    require_valid(ET.fromstring(text))
    assert "<failure" not in text and "<error" not in text
    assert text.startswith("<?xml version='1.0' encoding='utf-8'?>")
