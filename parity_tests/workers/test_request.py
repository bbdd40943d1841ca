"""Requests as JSON, and requests from another version."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from inception_parity import worker
from inception_parity.errors import InputError
from inception_parity.workers import request as requests
from inception_parity.workers.request import (
    Experiment,
    MeasureFloors,
    Race,
    Record,
    Request,
    Train,
)

OPTIONS = {"num_classes": 10, "batch_norm": False}
JOBS = (
    Record("googlenet", OPTIONS, "float64", endpoints=("b1.0",), images=Path("i"), out=Path("a")),
    Record("googlenet", OPTIONS, "float32", "isolated", images=Path("i"), out=Path("b"),
           oracle=Path("a")),
    MeasureFloors("googlenet", OPTIONS, "float32", images=Path("i"), out=Path("c"),
                  oracle=Path("a")),
    Train("googlenet", OPTIONS, "float32", "training", recipe="{}", counts={"b1.norm": 8},
          images=Path("i"), out=Path("d")),
    Race("googlenet", OPTIONS, "float32", recipe={"epochs": 1}, steps=2, names=("fc.bias",),
         label="pt", out=Path("e")),
    Experiment(topics=("pooling",), out=Path("f")),
)  # fmt: skip


def request_with(*jobs: requests.AnyJob, folder: Path = Path("folder")) -> Request:
    return Request(
        backend="pt", jobs=jobs, folder=folder, result=folder / "pt.json", device="gpu",
        weights=Path("weights"), library="timm", file=Path("file"),
    )  # fmt: skip


def test_request_survives_json():
    assert {type(job) for job in JOBS} == set(requests.KINDS.values())
    assert Request.loads(request_with(*JOBS).dumps()) == request_with(*JOBS)
    bare = Request(backend="np", jobs=(), folder=Path("folder"), result=Path("result"))
    assert Request.loads(bare.dumps()) == bare


def test_request_of_another_version_is_refused():
    text = json.dumps({**json.loads(request_with().dumps()), "version": requests.VERSION + 1})
    with pytest.raises(InputError, match="a request of version 2, but this worker reads version 1"):
        Request.loads(text)


def test_worker_of_another_version_says_so(tmp_path, monkeypatch, capsys):
    file = tmp_path / "request.json"
    monkeypatch.setattr(requests, "VERSION", requests.VERSION + 1)
    file.write_text(request_with(folder=tmp_path).dumps())
    monkeypatch.undo()
    assert worker.main(str(file)) == os.EX_PROTOCOL
    assert "a request of version 2, but this worker reads version 1" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [file]
