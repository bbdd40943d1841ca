"""A check's result as JSON. The keys are those of the dataclasses; see docs/json.md."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from ..checking.result import CheckResult
from ..comparison.comparing import Report
from ..comparison.limits import LIMIT_FLOAT64, LIMIT_FLOORS
from ..diagnosis import Diagnosis
from ..training_check.runner import TrainingResult

FORMAT = "inception-parity report 1"


def check_record(results: list[CheckResult]) -> dict[str, Any]:
    """Return one record for all checks of a call."""
    return {
        "format": FORMAT,
        "exit_code": exit_code(results),
        "limits": {"float64_rel_l2": LIMIT_FLOAT64, "floors": LIMIT_FLOORS},
        "checks": [_check(result) for result in results],
    }


def exit_code(results: list[CheckResult]) -> int:
    """Return the exit code for all checks: 3 wins over 1, 1 over 0."""
    return max((result.exit_code for result in results), default=0)


def common_record(result: CheckResult | TrainingResult) -> dict[str, Any]:
    """Return what a check in inference and one in training have in common: what ran, and how."""
    subject = result.subject
    return {
        "network": subject.network,
        "options": subject.options,
        "weights": {"provenance": subject.provenance, "sha256": subject.sha256},
        "images": list(subject.image_names),
        "size": list(subject.size),
        "device": result.settings.device,
        "seconds": result.seconds,
        "exit_code": result.exit_code,
        "outcomes": {name: asdict(outcome) for name, outcome in result.outcomes.items()},
    }


def _check(result: CheckResult) -> dict[str, Any]:
    return {
        **common_record(result),
        "oracle_suspect": result.oracle_suspect,
        "reports": [
            report_record(report, result.diagnoses.get(report.cell)) for report in result.reports
        ],
        "pairs": [asdict(pair) for pair in result.pairs],
    }


def report_record(report: Report, diagnosis: Diagnosis | None = None) -> dict[str, Any]:
    """Return one comparison with all its endpoints, and the diagnosis, if there is one."""
    first, worst = report.first, report.worst
    return {
        "backend": report.backend,
        "dtype": report.dtype,
        "mode": report.mode,
        "verdict": report.verdict,
        "fails": report.fails,
        "first": first.name if first else None,
        "guilty": [e.name for e in report.guilty],
        "worst": worst.name if worst else None,
        "smallest_passing_tolerance": report.tolerance,
        "loader": report.loader,
        "top1": report.top1,
        "versions": report.versions,
        "seconds": report.seconds,
        "diagnosis": _diagnosis(diagnosis),
        "endpoints": [asdict(endpoint) for endpoint in report.endpoints],
    }


def _diagnosis(found: Diagnosis | None) -> dict[str, Any] | None:
    """Return the diagnosis, or None if nothing is wrong or no cause was looked for."""
    if found is None:
        return None
    return {
        "endpoint": found.endpoint,
        "kind": found.kind,
        "cause": found.cause.cause if found.cause else None,
        "findings": [asdict(finding) for finding in found.findings],
        "closest": asdict(found.closest) if found.closest else None,
        "tried": {"single": found.tried[0], "pairs": found.tried[1]},
        "also": found.also,
        "note": found.note,
    }


def dumps(value: Any) -> str:
    """Return JSON; infinities and NaN, which JSON lacks, become null."""
    return json.dumps(_plain(value), indent=1) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
