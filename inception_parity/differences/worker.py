"""Experiments in one framework, in a process of its own.

`python -m inception_parity.differences.worker REQUEST.json`
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import worker as common


def main(request_file: str) -> int:
    """Do what the request says; an experiment that fails costs its own cell only."""
    request = json.loads(Path(request_file).read_text())
    threading.Thread(target=common.end_with_parent, args=[request["folder"]], daemon=True).start()
    start = time.perf_counter()
    result: dict[str, Any] = {"status": "ok", "message": "", "unsupported": {}}
    try:
        _work(request, result)
    finally:
        result["seconds"] = time.perf_counter() - start
        common.write_whole(Path(request["result"]), result)
    return 0


def _work(request: dict[str, Any], result: dict[str, Any]) -> None:
    from ..backends import UnavailableError, adapter
    from . import TOPICS, Answer

    try:
        backend = adapter(request["backend"])  # imports the framework, with its settings
    except UnavailableError as error:
        result.update(status="missing", message=str(error))
        return
    cells = {}
    for name in request["topics"]:
        try:
            seen = TOPICS[name].runs[request["backend"]]()
            cells[name] = Answer(seen.default, dict(seen.numbers), seen.ours)
        except Exception as error:  # costs its cell of the table, which says so
            cells[name] = Answer(problem=f"the experiment failed: {error!r}"[:300])
    record = {
        "versions": backend.versions(),
        "cells": {name: asdict(cell) for name, cell in cells.items()},
    }
    common.write_whole(Path(request["out"]), record)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
