"""The proof of a conversion: it holds what agrees, and refuses whatever doesn't."""

from __future__ import annotations

import json

import numpy as np
import pytest

import inception_parity
from inception_parity import libraries
from inception_parity.conversion import converting, loading, verifying
from inception_parity.conversion.identifying import identify
from inception_parity.errors import InputError
from inception_parity.traces import seeding, weights
from inception_parity.traces.trace import Run, Trace, TraceWriter

from ..support.command import call, require_clear_error

VALUES = np.linspace(-1.0, 2.0, 24).reshape(2, 12)


def trace(folder, arrays, loader=(), dtype="float64"):
    with TraceWriter(folder) as writer:
        for name, array in arrays.items():
            writer.add(name, array)
        run = Run("inception_v3", {}, "pt", dtype, "cpu", "propagated", "", "")
        return writer.close(run, {}, 0.0, loader)


def row(tmp_path, change, loader=(), dtype="float64"):
    """Return the comparison of a trace with what `change` makes of it."""
    arrays = {"input": np.zeros((1, 3, 5, 7)), "stage": VALUES, "logits": VALUES * 2}
    changed = {name: array.copy() for name, array in arrays.items()}
    change(changed)
    theirs, ours = trace(tmp_path / "a", arrays), trace(tmp_path / "b", changed, loader, dtype)
    assert isinstance(theirs, Trace)
    return verifying._row(verifying.Side("pt", {}, {}), ours, theirs)


def test_what_agrees_is_held(tmp_path):
    same = row(tmp_path, lambda arrays: None)
    assert (same.fails, same.worst, same.logits, same.size) == (False, 0.0, 0.0, (5, 7))
    assert same.stages == 2


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda a: a["stage"].__imul__(1 + 1e-8), ""),
        (lambda a: a["logits"].__iadd__(1e-6), ""),
        (lambda a: a["logits"].__setitem__((0, 0), np.nan), ""),
        (lambda a: a.pop("stage"), "stage: not in PyTorch"),
        (lambda a: a.update(stage=VALUES[:1]), "stage: shape (1, 12), but (2, 12)"),
    ],
    ids=["stage", "logits", "nan", "missing", "shape"],
)
def test_what_differs_is_refused(change, text, tmp_path):
    found = row(tmp_path, change)
    assert found.fails
    assert text in found.problem


def test_weights_that_a_library_reads_differently_are_refused(tmp_path):
    found = row(tmp_path, lambda arrays: None, ["fc.bias: 3 of 10 elements are not as loaded"])
    assert found.fails
    assert found.problem.startswith("weights as loaded differ: fc.bias")


def test_float32_is_judged_by_its_logits(tmp_path):
    near = row(tmp_path, lambda a: a["logits"].__iadd__(1e-6))
    assert verifying.NetworkComparison(**{**vars(near), "dtype": "float32"}).fails is False
    far = verifying.NetworkComparison(**{**vars(near), "dtype": "float32", "logits": 0.07})
    assert far.fails


def test_pictures_are_a_photograph_and_noise():
    for channels in (1, 3, 4):
        pictures = verifying.pictures((20, 30), channels)
        assert pictures.shape == (2, channels, 20, 30)
        assert -1 <= pictures.min() < -0.5 < 0.5 < pictures.max() <= 1


@pytest.fixture(scope="module")
def googlenet(tmp_path_factory):
    """Return a file of torchvision's GoogLeNet, as safetensors, which need no PyTorch."""
    options = {**libraries.library("torchvision").networks["ceil_googlenet"].fixed}
    shared = seeding.seeded("ceil_googlenet", {"num_classes": 10, **options}, 3)
    path = tmp_path_factory.mktemp("torchvision") / "googlenet.safetensors"
    converting.write_library(libraries.library("torchvision"), shared, path, path)
    return path, shared


def test_unverified_files_say_so(googlenet, tmp_path, capsys):
    path, shared = googlenet
    target = tmp_path / "shared.safetensors"
    done = call(capsys, "convert", path, target, "--no-verify")
    assert done.code == 0, done
    assert "torchvision googlenet" in done.out
    assert "assumed: transform_input=false" in done.out
    assert done.out.rstrip().endswith("unverified")
    found = weights.read(target)
    assert found.sha256 == shared.sha256  # bit-exact
    assert found.history["verification"]["status"] == "unverified"
    assert found.history["source"]["library"] == "torchvision"
    described = json.loads(call(capsys, "inspect", target, "--json").out)
    assert described["verification"].startswith("unverified: not asked for")
    assert described["loads"] == {name: name == "torchvision" for name in libraries.LIBRARIES}


@pytest.mark.slow  # a whole network, in five processes
def test_conversion_is_verified_against_the_library(googlenet, tmp_path, capsys, load_adapter):
    load_adapter("pt")
    path, shared = googlenet
    target, back = tmp_path / "shared.safetensors", tmp_path / "back.pth"
    done = call(capsys, "convert", path, target, "--backends", "pt", "--set", "use_aux=false")
    assert done.code == 0, done
    assert "its auxiliary heads are left out" in done.out
    assert done.out.rstrip().endswith("287 arrays, verified")
    proof = weights.read(target).history["verification"]
    assert (proof["status"], proof["against"]) == ("verified", "torchvision")
    assert {row["dtype"] for row in proof["rows"]} == {"float64", "float32"}
    assert all(row["worst_rel_l2"] < 1e-10 for row in proof["rows"] if row["dtype"] == "float64")
    done = call(capsys, "convert", target, back, "--to", "torchvision", "--no-verify")
    assert done.code == 0, done
    found = identify(back)
    kept = {n: shared.arrays[n] for n in found.names}
    assert weights.SharedWeights("", {}, "", kept).sha256 == weights.SharedWeights(
        "", {}, "", found.arrays()
    ).sha256  # fmt: skip


@pytest.mark.slow  # a network with its heads, in five processes
def test_a_wrong_conversion_is_refused_and_nothing_is_written(
    googlenet, tmp_path, capsys, load_adapter, monkeypatch
):
    load_adapter("pt")
    path, _ = googlenet
    right = libraries.Library.names

    def swapped(*args):
        """Take each head for the other, and undo it nowhere."""
        names = right(*args)
        for ours in [name for name in names if name.startswith("h0.fc.3")]:
            other = ours.replace("h0", "h1")
            names[ours], names[other] = names[other], names[ours]
        return names

    monkeypatch.setattr(libraries.Library, "names", swapped)
    target = tmp_path / "shared.safetensors"
    done = call(capsys, "convert", path, target, "--backends", "pt")
    assert done.code == 1, done
    assert "doesn't compute what torchvision's does; nothing was written" in done.err
    assert "h0.fc.3" in done.err
    assert list(tmp_path.iterdir()) == []


def test_targets_that_would_compute_something_else_are_refused(googlenet, tmp_path, capsys):
    path, _ = googlenet
    done = call(capsys, "convert", path, tmp_path / "x.params", "--to", "gluon")
    require_clear_error(done, "can't become MXNet Gluon", "it has no ceil_googlenet")
    done = call(capsys, "convert", path, tmp_path / "x.h5", "--to", "keras")
    require_clear_error(done, "name should end in .weights.h5")
    done = call(capsys, "convert", path, tmp_path / "x.pth", "--to", "keraz")
    require_clear_error(done, "no library 'keraz' (did you mean keras?)")
    done = call(capsys, "convert", path, path)
    require_clear_error(done, "the source itself")
    assert list(tmp_path.iterdir()) == []


def test_library_that_is_not_installed_leaves_it_unverified(tmp_path, monkeypatch):
    outcome = verifying.Outcome("pt", "missing", "timm can't be imported here")
    side = verifying.Side("pt", {}, {}, "timm", tmp_path)
    assert verifying._missing(side, outcome) == "timm can't be imported here"
    made = verifying.Verification("timm", reason=verifying._missing(side, outcome))
    assert made.agree is False
    assert made.record() == {"status": "unverified", "reason": "timm can't be imported here"}


def test_load_pretrained_gives_the_network_of_a_file(googlenet, framework, load_adapter):
    import importlib

    adapter = load_adapter(framework)
    path, shared = googlenet
    package = importlib.import_module(adapter.package)
    net = package.load_pretrained(path, verify=False, transform_input=True)
    assert net.options["transform_input"] is True
    held = package.get_weights(net)
    assert weights.SharedWeights("", {}, "", held).sha256 == shared.sha256


def test_load_pretrained_says_that_it_needs_the_engine(monkeypatch):
    import sys

    import inception_np

    monkeypatch.setitem(sys.modules, "inception_parity", None)
    with pytest.raises(ImportError, match="load_pretrained needs the package inception_parity"):
        inception_np.load_pretrained("x")


def test_load_pretrained_refuses_what_cant_be_used(tmp_path):
    import inception_np

    with pytest.raises(InputError, match="no such file"):
        inception_np.load_pretrained(tmp_path / "none")


def test_a_network_that_crashes_leaves_nothing(googlenet, tmp_path, capsys, monkeypatch):
    path, _ = googlenet
    crashed = verifying.Verification("torchvision", broken="torchvision: failed: killed by SIGSEGV")
    monkeypatch.setattr(converting, "verify", lambda *_, **__: crashed)
    done = call(capsys, "convert", path, tmp_path / "shared.safetensors")
    assert done.code == 3, done
    assert "nothing was written (--no-verify writes it" in done.err
    assert "killed by SIGSEGV" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_is_missing_leaves_the_file_marked(googlenet, tmp_path, capsys, monkeypatch):
    path, _ = googlenet
    missing = verifying.Verification("torchvision", reason="torchvision can't be imported here")
    monkeypatch.setattr(converting, "verify", lambda *_, **__: missing)
    monkeypatch.setattr(loading, "run_verification", lambda *_, **__: missing)
    target = tmp_path / "shared.safetensors"
    done = call(capsys, "convert", path, target)
    assert (done.code, done.err.strip()) == (
        0, "unverified: torchvision can't be imported here",
    )  # fmt: skip
    assert weights.read(target).history["verification"] == {
        "status": "unverified", "reason": "torchvision can't be imported here",
    }  # fmt: skip
    with pytest.warns(UserWarning, match="unverified: torchvision can't be imported"):
        inception_parity.load_pretrained(path, "np")


@pytest.fixture(scope="module")
def oracles():
    """Return a function from arrays to a side that is the oracle's GoogLeNet."""
    shared = seeding.seeded("googlenet", {}, 0)

    def side(change=lambda arrays: arrays):
        return verifying.Side("np", shared.options, change(dict(shared.arrays)))

    return side


def test_networks_run_in_processes_of_their_own_and_are_compared(oracles):
    names = list(oracles().arrays)
    assert names[-1].endswith("bias")
    changed = oracles(lambda a: {**a, names[-1]: a[names[-1]] * np.float32(1.01)})
    done = verifying.verify("googlenet", oracles(), [oracles(), changed], [(33, 34)])
    same, different = done.rows
    assert (same.dtype, same.size, same.fails, same.worst) == ("float64", (33, 34), False, 0.0)
    assert different.fails
    assert different.at == names[-1].removesuffix(".bias")
    assert not done.agree


@pytest.mark.parametrize("broken", ["source", "target"])
def test_a_side_that_fails_is_named(oracles, broken):
    sides = [oracles(), oracles()]
    sides[broken == "target"] = oracles(lambda arrays: dict(list(arrays.items())[1:]))
    done = verifying.verify("googlenet", sides[0], sides[1:], [(33, 34)])
    assert done.rows == ()
    assert not done.agree
    assert done.broken.startswith("NumPy oracle: failed: ended with exit code 1")
    assert "missing" in done.broken
