"""Results as JUnit's XML, for tools that collect tests: a suite per run, a case per endpoint.

Valid against the schema of Ant's JUnit task, the strictest in use, and against Jenkins'.
"""

from __future__ import annotations

import platform
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from datetime import UTC, datetime

from ..checking.result import CheckResult
from ..comparison.comparing import UNJUDGED, Comparison, Report
from .terminal import numbers

# XML 1.0 has no way to write these.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def dumps(results: Sequence[CheckResult]) -> str:
    """Return the XML of all checks of a call."""
    suites = ET.Element("testsuites")
    for result in results:
        name = result.subject.network
        for report in result.reports:
            _add(suites, f"{name}.{report.backend}.{report.dtype}.{report.mode}", result, report)
        for backend, outcome in result.outcomes.items():
            for dtype, why in outcome.unsupported.items():
                suite = _Suite(suites, f"{name}.{backend}.{dtype}", result)
                suite.case("run", "skipped", why)
                suite.close()
            if outcome.status != "ok":
                suite = _Suite(suites, f"{name}.{backend}", result)
                suite.case("run", "error", outcome.message, outcome.status)
                suite.close()
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _add(suites: ET.Element, name: str, result: CheckResult, report: Report) -> None:
    suite = _Suite(suites, name, result, report)
    if report.loader:
        suite.case("weights", "failure", "\n".join(report.loader), "loader")
    for endpoint in report.endpoints:
        if endpoint.fails:
            suite.case(endpoint.name, "failure", _message(endpoint, report), endpoint.verdict)
        elif endpoint.verdict == UNJUDGED:
            suite.case(endpoint.name, "skipped", "not judged: no noise floor is known")
        else:
            suite.case(endpoint.name)
    suite.close(report.seconds)


def _message(endpoint: Comparison, report: Report) -> str:
    starts = "starts here: " if endpoint.guilty else ""
    return f"{starts}{endpoint.kind}: {numbers(endpoint, report.dtype)}"


class _Suite:
    """One suite; the schema wants properties first, output last, and all counts."""

    def __init__(
        self, suites: ET.Element, name: str, result: CheckResult, report: Report | None = None
    ) -> None:
        self.counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
        self.name = _clean(name)
        self.element = ET.SubElement(
            suites, "testsuite", id=str(len(suites)), name=self.name, package=self.name,
            hostname=_clean(platform.node() or "localhost"),
            timestamp=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        )  # fmt: skip
        properties = ET.SubElement(self.element, "properties")
        subject = result.subject
        facts = {**subject.options, "weights": subject.sha256, "device": result.settings.device}
        for key, value in {**facts, **(report.versions if report else {})}.items():
            ET.SubElement(properties, "property", name=_clean(key), value=_clean(value))

    def case(self, name: str, kind: str = "", text: str = "", type_: str = "") -> None:
        case = ET.SubElement(
            self.element, "testcase", name=_clean(name), classname=self.name, time="0"
        )
        self.counts["tests"] += 1
        if kind:
            self.counts[{"failure": "failures", "error": "errors"}.get(kind, kind)] += 1
            said = ET.SubElement(case, kind, message=_clean(text.partition("\n")[0]))
            if kind != "skipped":
                said.set("type", _clean(type_))
                said.text = _clean(text)

    def close(self, seconds: float = 0.0) -> None:
        for key, count in self.counts.items():
            self.element.set(key, str(count))
        self.element.set("time", f"{seconds:.3f}")
        ET.SubElement(self.element, "system-out")
        ET.SubElement(self.element, "system-err")


def _clean(text: object) -> str:
    """Return text without what XML can't hold."""
    return _NOT_XML.sub("\ufffd", str(text))
