"""What the frameworks do differently by default, as small experiments that can be run.

Each topic has one experiment per framework, that shows the default and, where a layer or
optimiser of ours is meant, the same experiment with ours. `run` does them in a worker
process per framework; none of these modules imports a framework before it is asked to.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, nearest
from ..networks import catalogue
from ..workers.processes import workers
from .convolutions import TOPICS as CONVOLUTIONS
from .losses import TOPICS as LOSSES
from .norms import TOPICS as NORMS
from .optimizers import TOPICS as OPTIMIZERS
from .pools import TOPICS as POOLS
from .runtime import TOPICS as RUNTIME
from .topic import Answer, Seen, Topic
from .training import TOPICS as TRAINING

__all__ = ["TOPICS", "Answer", "Seen", "Topic", "find_topic", "run"]

TOPICS = {
    topic.name: topic
    for topics in (CONVOLUTIONS, POOLS, NORMS, TRAINING, OPTIMIZERS, LOSSES, RUNTIME)
    for topic in topics
}
FRAMEWORKS = tuple(
    name for name, info in catalogue.BACKENDS.items() if info.package and name != catalogue.ORACLE
)


def find_topic(name: str) -> Topic:
    """Return the topic called `name`; InputError names the nearest if there is none."""
    if name not in TOPICS:
        raise InputError(
            f"no topic {name!r}{nearest(name, TOPICS)}; there are: {', '.join(TOPICS)}"
        )
    return TOPICS[name]


def run(
    names: Sequence[str],
    frameworks: Sequence[str] = FRAMEWORKS,
    timeout: float = 300.0,
    progress: Callable[[str], None] = lambda text: None,
) -> tuple[dict[str, dict[str, Answer]], dict[str, dict[str, str]]]:
    """Do experiments, each framework in a process of its own.

    Args:
        names: topics.
        frameworks: `pt`, `tf`, `mx`.
        timeout: seconds after which a framework is given up.
        progress: called with a line that says what is being done.

    Returns:
        topic -> framework -> what was seen, or why nothing was; and the versions
        of each framework that there is.
    """
    with tempfile.TemporaryDirectory(prefix="inception-parity-") as folder:
        requests = [_request(Path(folder), framework, names) for framework in frameworks]
        with workers(requests, {}, timeout) as running:
            while sum(worker.poll() for worker in running) < len(running):
                waiting = [w.backend for w in running if w.outcome is None]
                progress(f"experiments in {', '.join(waiting)}")
                time.sleep(0.05)
            outcomes = {worker.backend: worker.outcome for worker in running}
        cells: dict[str, dict[str, Answer]] = {name: {} for name in names}
        versions = {}
        for framework in frameworks:
            outcome = outcomes[framework]
            assert outcome is not None
            file = Path(folder) / f"{framework}.seen.json"
            done: dict[str, Any] = {}
            if outcome.status == "ok" and file.exists():
                record = json.loads(file.read_text())
                done, versions[framework] = record["cells"], record["versions"]
            why = outcome.message or f"{outcome.status} without a word"
            for name in names:
                cells[name][framework] = (
                    Answer(**done[name]) if name in done else Answer(problem=why)
                )
    return cells, versions


def _request(folder: Path, framework: str, names: Sequence[str]) -> dict[str, Any]:
    return {
        "module": "inception_parity.differences.worker",
        "backend": framework,
        "device": "cpu",
        "folder": str(folder),
        "topics": list(names),
        "out": str(folder / f"{framework}.seen.json"),
        "result": str(folder / f"{framework}.json"),
    }
