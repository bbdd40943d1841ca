"""Records of trainings in files: what earlier versions wrote is read, and written the same way."""

from __future__ import annotations

import json

import pytest

from inception_parity.training.plan import Plan
from inception_parity.training_check.trial import Trial, make_trial

# As checkpoints of format 1 hold them, written when a plan was one flat dataclass.
NETWORK = (
    '"network": "inception_v3", "optimizer": "{}", "options": {{"in_channels": 3, '
    '"num_classes": 10}}, "pixels": "signed", "precision": "{}", "seed": 0, "test_images": 20, '
)
DATA = '"data": "cifar-10", "data_digest": "ab12", "device": "cpu", '
SIZE = '"height": 107, "init": "d2l", '
PLANS = {
    "sgd": '{"augment": "none", "aux_weight": 0.4, "backend": "pt", "batch": 128, '
    f'"channels_last": true, {DATA}"epochs": 3, {SIZE}'
    '"label_smoothing": 0.0, "lr": 0.1, "momentum": 0.5, '
    f"{NETWORK.format('sgd', 'bfloat16')}"
    '"threads": 2, "train_images": 100, "weight_decay": 0.0, "width": 96}',
    "nesterov": '{"augment": "none", "aux_weight": 0.4, "backend": "pt", "batch": 128, '
    f'"channels_last": false, {DATA}"epochs": 10, {SIZE}'
    '"label_smoothing": 0.0, "lr": 0.1, "momentum": 0.9, '
    f"{NETWORK.format('nesterov', 'float32')}"
    '"threads": 4, "train_images": 100, "weight_decay": 0.0, "width": 96}',
    "adam": '{"augment": "none", "aux_weight": 0.4, "backend": "pt", "batch": 128, '
    f'"channels_last": false, {DATA}"epochs": 10, {SIZE}'
    '"label_smoothing": 0.0, "lr": 0.001, "momentum": 0.0, '
    f"{NETWORK.format('adam', 'float32')}"
    '"threads": 4, "train_images": 100, "weight_decay": 0.0, "width": 96}',
    "rmsprop": '{"augment": "none", "aux_weight": 0.25, "backend": "mx", "batch": 128, '
    f'"channels_last": false, {DATA}"epochs": 10, {SIZE}'
    '"label_smoothing": 0.1, "lr": 0.045, "momentum": 0.0, '
    f"{NETWORK.format('rmsprop', 'float32')}"
    '"threads": 1, "train_images": 100, "weight_decay": 0.001, "width": 96}',
}
# As traces of training hold them.
TRIALS = {
    "decay": '{"aux_weight": 0.3, "batch": 4, "epsilon": 0.1, '
    '"frozen": ["b2.0.conv.weight", "b2.0.conv.bias"], "optimizer": "SGD", "seed": 0, '
    '"settings": {"lr": 0.25, "momentum": 0.9, "weight_decay": 0.00390625}, "steps": 2}',
    "rmsprop": '{"aux_weight": 0.3, "batch": 4, "epsilon": 0.1, "frozen": [], '
    '"optimizer": "RMSProp", "seed": 0, '
    '"settings": {"decay": 0.875, "eps": 1.0, "lr": 0.25}, "steps": 2}',
}
SETTINGS = {
    "sgd": ("SGD", {"lr": 0.1, "weight_decay": 0.0, "momentum": 0.5, "nesterov": False}),
    "nesterov": ("SGD", {"lr": 0.1, "weight_decay": 0.0, "momentum": 0.9, "nesterov": True}),
    "adam": ("Adam", {"lr": 0.001, "weight_decay": 0.0}),
    "rmsprop": ("RMSProp", {"lr": 0.045, "weight_decay": 0.001}),
}


@pytest.mark.parametrize("optimizer", PLANS)
def test_plan_of_an_old_checkpoint_is_read_and_written_the_same(optimizer: str) -> None:
    record = json.loads(PLANS[optimizer])
    plan = Plan.from_record(record)
    assert json.dumps(plan.record(), sort_keys=True) == PLANS[optimizer]
    assert (plan.recipe.optimizer, plan.recipe.settings) == SETTINGS[optimizer]
    assert plan == Plan.make(record)
    assert plan.changed(batch=3).recipe.batch == 3
    for broken in ({**record, "colour": "red"}, {k: record[k] for k in record if k != "lr"}):
        with pytest.raises((KeyError, TypeError)):
            Plan.from_record(broken)


@pytest.mark.parametrize("preset", TRIALS)
def test_trial_of_an_old_trace_is_read_and_written_the_same(preset: str) -> None:
    trial = Trial.read(TRIALS[preset])
    assert trial.text() == TRIALS[preset]
    assert (trial.steps, trial.recipe.label_smoothing) == (2, 0.1)
    options = {"in_channels": 3, "num_classes": 10, "batch_norm": True}
    frozen = ("b2.0.conv",) if preset == "decay" else ()
    made = make_trial("googlenet", options, optimizer=preset, lr=0.25, steps=2, frozen=frozen)
    assert made.text() == TRIALS[preset]
