"""Traces are complete or absent, refused when changed, and copies of what was computed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from inception_parity import InputError
from inception_parity.backends import Job, loaded, record
from inception_parity.files import digest
from inception_parity.networks import catalogue
from inception_parity.traces.trace import INPUT, Run, Trace, TraceWriter

from ..support.helpers import Case, images, run_job, shared_weights, trace_of
from ..support.selection import SMALL_NETWORKS, slow_unless

RUN = Run("googlenet", {"in_channels": 1}, "np", "float64", "cpu", "propagated", "i" * 64, "w" * 64)
SMALL = Case("googlenet", (), (1, 1, 33, 40))


def written(folder, **arrays):
    with TraceWriter(folder) as writer:
        for name, array in arrays.items():
            writer.add(name, array, kind="thing", inputs=["before"], leaf=False)
        return writer.close(RUN, {"numpy": "1"}, 0.5, ["a problem"])


def edited(trace, change):
    """Change trace.json and read the trace again."""
    file = trace.folder / "trace.json"
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record))
    return Trace.read(trace.folder)


def test_trace_comes_back_as_written(tmp_path):
    arrays = {"b": np.arange(6.0).reshape(2, 3), "a": np.float32([[1.5]]), "empty": np.ones((0, 3))}
    written(tmp_path / "trace", **arrays)
    trace = Trace.read(tmp_path / "trace")
    assert (trace.run, trace.versions, trace.seconds) == (RUN, {"numpy": "1"}, 0.5)
    assert trace.loader == ["a problem"]
    assert list(trace) == ["b", "a", "empty"]
    for name, array in arrays.items():
        endpoint = trace.endpoints[name]
        assert (endpoint.kind, endpoint.inputs, endpoint.leaf) == ("thing", ("before",), False)
        assert (endpoint.shape, endpoint.dtype) == (array.shape, array.dtype.name)
        np.testing.assert_array_equal(trace.array(name), array)
    trace.verify()


def test_arrays_are_read_as_memory_maps(tmp_path):
    trace = written(tmp_path / "trace", a=np.ones(3))
    assert isinstance(trace.array("a"), np.memmap)


def test_array_that_is_not_contiguous_is_written_in_its_order(tmp_path):
    array = np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1)
    np.testing.assert_array_equal(written(tmp_path / "t", a=array).array("a"), array)


def test_writer_leaves_nothing_on_failure(tmp_path):
    with pytest.raises(RuntimeError, match="boom"), TraceWriter(tmp_path / "trace") as writer:
        writer.add("a", np.ones(3))
        raise RuntimeError("boom")
    assert list(tmp_path.iterdir()) == []


def test_writer_that_is_not_closed_leaves_nothing(tmp_path):
    with TraceWriter(tmp_path / "trace") as writer:
        writer.add("a", np.ones(3))
    assert list(tmp_path.iterdir()) == []


def test_folder_appears_only_when_closed(tmp_path):
    with TraceWriter(tmp_path / "trace") as writer:
        writer.add("a", np.ones(3))
        assert not (tmp_path / "trace").exists()
        writer.close(RUN, {}, 0.0)
    assert [path.name for path in tmp_path.iterdir()] == ["trace"]


def test_close_moves_the_folder(tmp_path):
    writer = TraceWriter(tmp_path / "trace")
    writer.add("a", np.ones(3))
    writer.close(RUN, {}, 0.0)
    assert [path.name for path in tmp_path.iterdir()] == ["trace"]


def test_writer_clears_what_a_killed_run_left(tmp_path):
    killed = TraceWriter(tmp_path / "trace")
    killed.add("old", np.ones(3))
    killed.add("older", np.ones(4))
    trace = written(tmp_path / "trace", new=np.zeros(2))
    assert sorted(path.name for path in trace.folder.iterdir()) == ["0000.npy", "trace.json"]


def test_writer_refuses_an_endpoint_twice(tmp_path):
    with (
        pytest.raises(ValueError, match="endpoint a was recorded twice"),
        TraceWriter(tmp_path / "trace") as writer,
    ):
        writer.add("a", np.ones(3))
        writer.add("a", np.zeros(3))


def test_identical_arrays_share_a_file(tmp_path):
    one, other = np.arange(6.0), np.arange(6.0)
    trace = written(tmp_path / "t", a=one, b=other, c=one.reshape(2, 3), d=-one)
    files = {name: endpoint.file for name, endpoint in trace.endpoints.items()}
    assert files["a"] == files["b"]
    assert len({files["a"], files["c"], files["d"]}) == 3
    assert len(list(trace.folder.glob("*.npy"))) == 3
    np.testing.assert_array_equal(trace.array("c"), one.reshape(2, 3))


def test_verify_names_what_has_changed(tmp_path):
    trace = written(tmp_path / "t", a=np.arange(5.0), b=np.arange(7.0), c=np.arange(7.0))
    file = trace.folder / trace.endpoints["b"].file
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(
        InputError, match=r"(?s)run it again.*b: changed since it was written.*c: changed since"
    ):
        trace.verify()


def test_verify_of_a_truncated_array_names_it(tmp_path):
    trace = written(tmp_path / "t", a=np.arange(5.0))
    file = trace.folder / trace.endpoints["a"].file
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(InputError, match=r"0000\.npy: can't read endpoint a"):
        trace.verify()


def test_missing_array_is_named(tmp_path):
    trace = written(tmp_path / "t", a=np.arange(5.0))
    (trace.folder / "0000.npy").unlink()
    with pytest.raises(InputError, match=r"0000\.npy: can't read endpoint a \(.*No such file"):
        trace.array("a")


@pytest.mark.parametrize("length", [0, 5])  # an empty array isn't read as a memory map
def test_pickled_array_is_refused(tmp_path, length):
    trace = written(tmp_path / "t", a=np.ones(length))
    np.save(trace.folder / "0000.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match="can't read endpoint a"):
        trace.array("a")


def test_other_shape_in_the_file_is_refused(tmp_path):
    trace = written(tmp_path / "t", a=np.arange(6.0))
    np.save(trace.folder / "0000.npy", np.arange(6.0).reshape(2, 3))
    message = r"0000\.npy: shape \(2, 3\), but trace\.json says \(6,\) \[a\]"
    with pytest.raises(InputError, match=message):
        trace.array("a")


def test_half_written_folder_is_refused(tmp_path):
    writer = TraceWriter(tmp_path / "t")
    writer.add("a", np.ones(3))
    with pytest.raises(InputError, match=r"no trace there \(no trace\.json\)$"):
        Trace.read(writer.partial)


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="gone: no trace there"):
        Trace.read(tmp_path / "gone")


def test_folder_of_traces_names_them(tmp_path):
    written(tmp_path / "pt", a=np.ones(3))
    written(tmp_path / "mx", a=np.ones(3))
    with pytest.raises(InputError, match="it holds the traces mx, pt"):
        Trace.read(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"format": 1', '{"a": "\\ud800"}', "\xff"])
def test_foreign_json_is_refused(tmp_path, text):
    (tmp_path / "trace.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"trace\.json: not a trace's record"):
        Trace.read(tmp_path)


def test_other_format_is_refused(tmp_path):
    trace = written(tmp_path / "t", a=np.ones(3))
    with pytest.raises(InputError, match="format 'inception-parity trace 9', but should be 'incep"):
        edited(trace, lambda record: record.update(format="inception-parity trace 9"))


@pytest.mark.parametrize("field", ["run", "versions", "seconds", "loader", "endpoints"])
def test_record_that_lacks_a_field_is_refused(tmp_path, field):
    trace = written(tmp_path / "t", a=np.ones(3))
    with pytest.raises(InputError, match=rf"not a trace's record \(KeyError\('{field}'\)\)"):
        edited(trace, lambda record: record.pop(field))


@pytest.mark.parametrize("part", ["run", "endpoints"])
def test_record_with_an_unknown_field_is_refused(tmp_path, part):
    trace = written(tmp_path / "t", a=np.ones(3))

    def change(record):
        (record["run"] if part == "run" else record["endpoints"][0])["colour"] = "red"

    with pytest.raises(InputError, match="not a trace's record"):
        edited(trace, change)


def test_digest_depends_on_names_shapes_dtypes_and_values_not_on_order():
    arrays = {"a": np.arange(4.0), "b": np.ones(2)}
    same = {"b": np.ones(2), "a": np.arange(8.0)[:4]}
    assert digest(arrays) == digest(same)
    others = [
        {"a": np.arange(4.0), "c": np.ones(2)},
        {"a": np.arange(4.0).reshape(2, 2), "b": np.ones(2)},
        {"a": np.arange(4.0).view(np.int64), "b": np.ones(2)},
        {"a": np.arange(4.0)[::-1], "b": np.ones(2)},
        {"a": np.arange(4.0)},
    ]
    assert len({digest(found) for found in [arrays, *others]}) == 6


def test_digest_does_not_depend_on_the_byte_order():
    array = np.arange(4.0)
    assert digest({"a": array.astype(">f8")}) == digest({"a": array})


@slow_unless(lambda p: p["network"] in SMALL_NETWORKS, "whole networks")
def test_every_endpoint_of_the_oracle_has_inputs_that_precede_it(network, oracle_trace):
    # Sides of 32k - 1 to 32k + 6, which BN-Inception needs.
    trace = oracle_trace(Case(network, (), (1, 3, 127, 96)))
    before = []
    for name, endpoint in trace.endpoints.items():
        if name != INPUT:
            assert endpoint.inputs, f"{name} has no inputs"
            assert [i for i in endpoint.inputs if i not in before] == [], name
        before.append(name)


def test_graph_of_the_oracle_is_that_of_the_source(oracle_trace):
    inputs = {name: e.inputs for name, e in oracle_trace(SMALL).endpoints.items()}
    assert inputs["b1.0.conv"] == ("input",)
    assert inputs["b2.0.conv"] == ("b1.1",)
    for path in ("p1_1", "p2_1", "p3_1"):
        assert inputs[f"b3.1.{path}.conv"] == ("b3.0.concat",)
    assert inputs["b3.1.p4_1"] == ("b3.0.concat",)
    assert inputs["b3.1.p4_2.conv"] == ("b3.1.p4_1",)
    assert inputs["b3.1.p2_2.conv"] == ("b3.1.p2_1.act",)
    paths = ("p1_1", "p2_2", "p3_2", "p4_2")
    assert inputs["b3.1.concat"] == tuple(f"b3.1.{path}.act" for path in paths)
    assert inputs["fc"] == ("b5.3",)
    assert inputs["logits"] == ("fc",)


def test_captures_are_copies(load_adapter, monkeypatch, tmp_path):
    """An in-place activation overwrites the convolution's output after it was recorded."""
    adapter = load_adapter("pt")
    from torch import nn

    class Tiny(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)
            self.act = nn.ReLU(inplace=True)

        def forward(self, x):
            return self.act(self.conv(x))

    monkeypatch.setattr(catalogue.Network, "build", lambda *_: Tiny())
    weights = {"conv.weight": np.ones((2, 1, 3, 3)), "conv.bias": np.array([-1.0, 2.0])}
    job = Job("googlenet", {}, "float64")
    trace = run_job(adapter, job, images((1, 1, 6, 6)), weights, tmp_path / "t")
    conv, act = trace.array("conv"), trace.array("act")
    assert (conv < 0).any()
    np.testing.assert_array_equal(act, np.maximum(conv, 0))


def test_run_that_fails_leaves_nothing(load_adapter, backend, tmp_path, monkeypatch):
    adapter = load_adapter(backend)

    def fail(*_):
        raise RuntimeError("boom")

    monkeypatch.setattr(type(adapter), "forward", fail)
    arrays = shared_weights("googlenet", tuple(SMALL.options.items())).arrays
    job = Job("googlenet", SMALL.options, "float64")
    with pytest.raises(RuntimeError, match="boom"):
        run_job(adapter, job, images(SMALL.shape), arrays, tmp_path / "t")
    assert list(tmp_path.iterdir()) == []


def test_weights_changed_after_loading_are_reported(load_adapter, backend, tmp_path):
    adapter = load_adapter(backend)
    arrays = shared_weights("googlenet", tuple(SMALL.options.items())).arrays
    job = Job("googlenet", SMALL.options, "float64")
    net = loaded(adapter, job, arrays)
    held = adapter.get_weights(net)
    held["b2.1.conv.bias"][3] += 1
    adapter.set_weights(net, held)
    changed = record(adapter, net, job, images(SMALL.shape), arrays, tmp_path / "t")
    assert changed.loader == ["b2.1.conv.bias: 1 of 192 elements are not as loaded"]
    assert changed.run.weights != trace_of(adapter, SMALL, "float64", tmp_path / "u").run.weights


def test_recording_is_undone(load_adapter, backend):
    adapter = load_adapter(backend)
    network = catalogue.network("googlenet")
    net = adapter.build(network, network.resolve({}), "float64")
    seen = []
    for _, module, _ in adapter.modules(net):
        adapter.attach(module, lambda args: args, lambda *_: seen.append(1))()
    adapter.forward(net, adapter.to_native(images((1, 1, 33, 40)), "float64"))
    assert seen == []


def test_unknown_dtype_is_refused(load_adapter, backend, tmp_path):
    adapter = load_adapter(backend)
    from inception_parity.backends import UnavailableError

    with pytest.raises(
        UnavailableError, match=f"{backend} can't compute in float8 here, only in float64"
    ):
        run_job(adapter, Job("googlenet", {}, "float8"), np.ones((1, 1, 9, 9)), {}, tmp_path / "t")
    assert list(tmp_path.iterdir()) == []
