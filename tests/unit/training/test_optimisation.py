"""Optimisers and schedulers by torch's names: the keywords that are known, and the rates."""

import inspect

import pytest
import torch
from torch.optim import lr_scheduler

from assay.foundation.errors import TrainingError
from assay.training import torch_names
from assay.training.optimisation import optimiser, scheduler
from assay.training.settings import complete, over, phases

# Switches between equal implementations, and what no catalogue can write.
NOT_NAMED = {
    "params", "foreach", "capturable", "differentiable", "fused", "optimizer", "last_epoch",
    "scale_fn", "epochs", "steps_per_epoch",
}  # fmt: skip
SPECIAL = {
    "Optimizer", "LBFGS", "Muon", "SparseAdam", "LRScheduler", "LambdaLR", "MultiplicativeLR",
    "SequentialLR", "ChainedScheduler", "ReduceLROnPlateau",
}  # fmt: skip


def of_torch(home, base):
    """Names and keywords of torch's classes, and the keywords without a default."""
    known, required = {}, {}
    for name in home.__all__:
        kind = getattr(home, name)
        if name in SPECIAL or not (inspect.isclass(kind) and issubclass(kind, base)):
            continue
        arguments = inspect.signature(kind).parameters
        known[name] = tuple(key for key in arguments if key not in NOT_NAMED)
        required[name] = tuple(
            key for key in known[name] if arguments[key].default is inspect.Parameter.empty
        )
    return known, required


def test_the_names_written_down_are_those_of_torch():
    optimizers, _ = of_torch(torch.optim, torch.optim.Optimizer)
    assert {name: set(keys) for name, keys in torch_names.OPTIMIZERS.items()} == {
        name: set(keys) for name, keys in optimizers.items()
    }
    schedulers, required = of_torch(lr_scheduler, lr_scheduler.LRScheduler)
    assert dict(torch_names.SCHEDULERS) == schedulers
    filled = torch_names.FILLED.items()
    assert dict(torch_names.REQUIRED) == {
        name: keys
        for name, given in required.items()
        if (keys := tuple(key for key in given if (name, key) not in filled))
    }


def weights():
    return [torch.nn.Parameter(torch.ones(3))]


@pytest.mark.parametrize("name", torch_names.OPTIMIZERS)
def test_every_optimiser_takes_a_step(name):
    parameters = weights()
    made = optimiser(parameters, {"name": name, "lr": 0.1})
    (parameters[0] ** 2).sum().backward()
    made.step()
    assert (parameters[0] < 1).all()


def rates(settings, epochs=6):
    """The rate of each step of a schedule by epochs, or of each of `epochs` steps."""
    optimised = optimiser(weights(), {"name": "SGD", "lr": 0.1, "momentum": 0.9})
    made = scheduler(optimised, settings, epochs)
    found = []
    for _ in range(epochs):
        found.append(optimised.param_groups[0]["lr"])
        optimised.step()
        made.step()
    return found


def test_a_stepwise_rate_is_torchs_without_its_rounding():
    settings = {"name": "StepLR", "step_size": 2, "gamma": 0.1}
    found = rates(settings)
    assert found == [0.1 * (0.1**falls if falls else 1.0) for falls in (0, 0, 1, 1, 2, 2)]
    optimised = optimiser(weights(), {"name": "SGD", "lr": 0.1})
    torchs = lr_scheduler.StepLR(optimised, step_size=2, gamma=0.1)
    for rate in found:
        assert rate == pytest.approx(optimised.param_groups[0]["lr"])
        optimised.step()
        torchs.step()


def test_a_cosine_ends_at_zero_and_one_cycle_where_the_training_ends():
    cosine = rates({"name": "CosineAnnealingLR"}, epochs=10)
    assert cosine[0] == 0.1
    assert cosine[5] == pytest.approx(0.05)
    assert 0 < cosine[-1] < 0.003
    cycle = rates({"name": "OneCycleLR", "max_lr": 1.0, "pct_start": 0.5}, epochs=12)
    assert max(cycle) == pytest.approx(1.0)
    assert cycle[0] == pytest.approx(1 / 25)
    assert cycle[-1] < 1e-4


def test_a_warm_up_rises_linearly_and_then_the_schedule_begins():
    settings = {"name": "MultiStepLR", "milestones": [2], "warmup": 4, "warmup_start": 0.2}
    found = rates(settings, epochs=8)
    assert found == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "StepLRR"}, "no scheduler 'StepLRR'"),
        ({"name": "ExponentialLR"}, "ExponentialLR: .*gamma"),
        ({"name": "OneCycleLR", "max_lr": 1, "warmup": 3}, "has a warm-up of its own"),
    ],
)
def test_impossible_schedules_are_named(settings, message):
    with pytest.raises(TrainingError, match=message):
        rates(settings)


def test_phases_lie_over_the_training_by_name():
    settings = complete(
        {
            "optimizer": {"name": "SGD", "lr": 0.1, "momentum": 0.9},
            "phases": [
                {"epochs": 2, "optimizer": {"lr": 0.01}},
                {"epochs": 3, "optimizer": {"name": "Adam", "lr": 0.001}},
            ],
        }
    )
    first, second = phases(settings)
    assert first["optimizer"] == {"name": "SGD", "lr": 0.01, "momentum": 0.9}
    assert second["optimizer"] == {"name": "Adam", "lr": 0.001}
    assert over({"scheduler": {"name": "StepLR"}}, {"scheduler": None}) == {"scheduler": None}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ema": 1.5}, "1.5 is not below 1"),
        ({"clip_norm": 0}, "clip_norm: 0 is not positive"),
        ({"optimiser": {}}, "unknown key 'optimiser'; did you mean 'optimizer'"),
        ({"weight_decay": 1}, "write optimizer: {weight_decay: ...}"),
        ({"phases": [{"samples": 3}]}, "'samples' holds for the whole training"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(TrainingError, match=message):
        phases(complete(settings))
