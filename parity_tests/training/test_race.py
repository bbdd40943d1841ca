"""The numbers of a race: distances computed by hand, and when runners drift apart."""

from __future__ import annotations

import numpy as np
import pytest

from inception_parity.data import datasets
from inception_parity.networks import catalogue
from inception_parity.training import loop, racing
from inception_parity.training.racing import Step

from ..conftest import chosen_backends
from ..support import tiny_training as tiny

FRAMEWORKS = [name for name in chosen_backends() if name != catalogue.ORACLE]


def steps_of(apart: list[float], moved: float = 1.0) -> list[Step]:
    return [
        Step(n, {}, {}, {"pt and tf float64": x, "pt and mx float64": x / 2}, moved,
             {"pt float64": {"b1": x, "fc": 2 * x}})
        for n, x in enumerate(apart, 1)
    ]  # fmt: skip


def test_distances_are_those_by_hand():
    names = ["b1.conv.weight", "b1.norm.weight", "fc.weight"]
    begin = {"b1.conv.weight": np.array([[3.0]]), "b1.norm.weight": np.array([4.0]),
             "fc.weight": np.array([12.0]), "b1.norm.running_mean": np.array([99.0])}  # fmt: skip
    runners = [("pt", "float64"), ("tf", "float64"), ("pt", "float32")]
    found = {
        runners[0]: (1.0, np.array([3.0, 4.0, 11.0])),
        runners[1]: (1.5, np.array([3.0, 4.0, 13.0])),
        runners[2]: (2.0, np.array([0.0, 0.0, 12.0])),
    }
    step = racing._WeightComparer(runners, names, begin).step(7, found)
    assert step.step == 7
    assert step.loss == {"pt float64": 1.0, "tf float64": 1.5, "pt float32": 2.0}
    assert step.distance == pytest.approx(
        {"pt float64": 1 / 13, "tf float64": 1 / 13, "pt float32": 5 / 13}
    )
    assert step.apart == pytest.approx({"pt and tf float64": 2 / 13})
    assert step.moved == 0.0  # the mean of 11 and 13 is where it began
    assert step.layers["pt float64"] == pytest.approx({"b1": 0.0, "fc": 1 / 12})
    assert step.layers["pt float32"] == pytest.approx({"b1": 1.0, "fc": 0.0})


def test_parting_tells_growth_and_the_step_where_all_is_lost():
    found = racing.parting(steps_of([1e-8, 1e-6, 1e-4, 1e-2, 0.5, 0.5]), "float64")
    assert found is not None
    assert (found.first, found.last, found.lost) == (1e-8, 0.5, 5)
    assert found.growth == pytest.approx((0.5e8) ** (1 / 4))
    assert (found.layer, found.at_layer) == ("fc", 1.0)
    steady = racing.parting(steps_of([1e-16, 2e-16, 4e-16]), "float64")
    assert steady is not None
    assert steady.growth == pytest.approx(2.0)
    assert steady.lost is None
    same = racing.parting(steps_of([0.0, 0.0]), "float64")
    assert same is not None
    assert same.growth is None
    assert racing.parting(steps_of([1.0]), "float32") is None


@pytest.mark.skipif(set(FRAMEWORKS) != {"pt", "tf", "mx"}, reason="holds pt, tf and mx together")
def test_backends_train_alike_on_an_epoch_of_a_feed(tmp_path, monkeypatch):
    """From the same weights, without dropout's draws, in float32, through `train`'s own parts."""
    monkeypatch.setitem(catalogue.NETWORKS, "tiny", tiny.tiny())
    monkeypatch.setattr(loop, "use_threads", lambda count: None)
    data = datasets.load("fashion-mnist", tiny.write_fashion(tmp_path))
    came_to = {}
    for backend in FRAMEWORKS:
        plan = tiny.plan(data, backend=backend, momentum=0.5, epochs=1, label_smoothing=0.125)
        found, net = loop.network_of(plan, backend, loop.initial(plan).arrays)
        found.control_dropout(net, None)
        steps: list[tuple[float, int]] = []
        training = found.training(net, plan.recipe)
        training.epoch(plan.feed.train(data.train, 0), lambda *step, to=steps: to.append(step))
        came_to[backend] = steps, found.get_weights(net)
    expected, arrays = came_to["pt"]
    assert len(expected) == 5
    for backend in ("tf", "mx"):
        found_steps, found_arrays = came_to[backend]
        assert [loss for loss, _ in found_steps] == pytest.approx([x for x, _ in expected], 1e-5)
        assert [right for _, right in found_steps] == [right for _, right in expected]
        for name, array in arrays.items():
            if not name.endswith("running_var"):  # conventions differ: / n and / (n - 1)
                np.testing.assert_allclose(found_arrays[name], array, rtol=1e-3, atol=1e-5)
