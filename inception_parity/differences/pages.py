"""The catalogue as Markdown: an index and a page for each topic."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..errors import InputError
from ..files import write_whole
from ..networks import catalogue
from . import FRAMEWORKS, TOPICS
from .topic import Answer, Topic

INDEX = "README.md"
MADE_BY = "Made by `inception-parity differences --write docs/differences`, from what it measures."


def index(
    cells: Mapping[str, Mapping[str, Answer]], versions: Mapping[str, Mapping[str, str]]
) -> str:
    """Return the page that lists all topics."""
    made = ", ".join(
        f"{name} {text}" for found in versions.values() for name, text in found.items()
    )
    titles = [catalogue.BACKENDS[framework].title for framework in FRAMEWORKS]
    lines = ["# What the frameworks do differently", "", MADE_BY, ""]
    lines += [f"Measured with {made}, on the CPU.", ""]
    lines += [_row(["topic", *titles]), _row(["---"] * (len(titles) + 1))]
    for name, topic in TOPICS.items():
        found = [_cell(cells[name].get(framework)) for framework in FRAMEWORKS]
        lines.append(_row([f"[{topic.title}]({name}.md)", *found]))
    return "\n".join(lines) + "\n"


def topic_page(topic: Topic, cells: Mapping[str, Answer]) -> str:
    """Return the page of one topic."""
    ours = any(cell.ours for cell in cells.values())
    heads = ["", "by default", "with this project's"] if ours else ["", "by default"]
    lines = [f"# {topic.title}", "", topic.experiment, "", _row(heads), _row(["---"] * len(heads))]
    for framework in FRAMEWORKS:
        cell = cells.get(framework)
        row = [catalogue.BACKENDS[framework].title, _cell(cell)]
        lines.append(_row([*row, cell.ours if cell else ""] if ours else row))
    lines += ["", "## Why it matters", "", topic.why, "", "## How they are made equal", ""]
    lines += [topic.equal, "", "---", "", f"{MADE_BY} [All topics]({INDEX})."]
    return "\n".join(lines) + "\n"


def write(
    folder: Path,
    cells: Mapping[str, Mapping[str, Answer]],
    versions: Mapping[str, Mapping[str, str]],
) -> list[Path]:
    """Write all pages into `folder`, each whole, and return their paths.

    Raises:
        InputError: the folder can't be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: can't be made ({error.strerror})") from error
    texts = {f"{name}.md": topic_page(topic, cells[name]) for name, topic in TOPICS.items()}
    texts[INDEX] = index(cells, versions)
    for name, text in texts.items():
        write_whole(folder / name, text.encode())
    return [folder / name for name in texts]


def _cell(cell: Answer | None) -> str:
    if cell is None:
        return "not asked"
    return cell.default or f"*{cell.problem.splitlines()[0]}*"


def _row(words: list[str]) -> str:
    return "| " + " | ".join(word.replace("|", "\\|") for word in words) + " |"
