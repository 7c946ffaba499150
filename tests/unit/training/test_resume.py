"""Every objective, optimiser and schedule goes on after a kill with the same bits."""

import pytest
import torch
from training_factory import TRAIN, Small, Stop, kill_a_training, numbers, run, same, small

from assay.training.objective import Batch, Objective, Update
from assay.training.optimisation import Optimisation

ADVERSARY = {"norm": "linf", "epsilon": 0.1, "steps": 2}
SGD = {"name": "SGD", "lr": 0.05, "momentum": 0.9, "nesterov": True}
# 7 steps an epoch, 21 in all.
TRAININGS = {
    "standard": {},
    "elbo": {"objective": "elbo", "optimizer": {"name": "Adam", "lr": 0.001}},
    "madry": {"objective": "madry", "adversary": ADVERSARY},
    "trades": {"objective": {"name": "trades", "beta": 2}, "adversary": ADVERSARY},
    "momentum": {
        "optimizer": SGD,
        "scheduler": {"name": "MultiStepLR", "milestones": [1, 2], "gamma": 0.3},
    },
    "one_cycle": {"optimizer": SGD, "scheduler": {"name": "OneCycleLR", "max_lr": 0.1}},
    "cosine_after_warmup": {
        "optimizer": {"name": "AdamW", "lr": 0.01, "weight_decay": 0.1},
        "scheduler": {"name": "CosineAnnealingLR", "interval": "step", "warmup": 5},
    },
    "averaged": {"ema": 0.9, "clip_norm": 0.5, "scheduler": None},
    "half": {"mixed_precision": True, "optimizer": SGD},
    "phases": {
        "phases": [
            {"epochs": 1, "optimizer": SGD, "ema": 0.8},
            {"epochs": 2, "objective": "madry", "adversary": ADVERSARY, "batch_size": 32},
        ]
    },
    "patience": {"patience": 1, "phases": [{"epochs": 4}, {"epochs": 1, "objective": "elbo"}]},
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The result of each training that nothing stops."""
    found = {}

    def result(name):
        if name not in found:
            found[name] = run(tmp_path_factory.mktemp(name), **TRAININGS[name])
        return found[name]

    return result


@pytest.fixture
def stopped_at(monkeypatch):
    """Makes trainings stop before their n-th step, counted from now."""
    step = Optimisation.step

    def arrange(number):
        count = 0

        def counted(self, batch):
            nonlocal count
            count += 1
            if count == number:
                raise Stop
            return step(self, batch)

        monkeypatch.setattr(Optimisation, "step", counted)

    return arrange


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize("number", [4, 8, 10])
def test_a_training_of_every_kind_ends_with_the_same_bits(
    tmp_path, undisturbed, stopped_at, name, number
):
    expected = undisturbed(name)
    for moment in (number, 3):
        stopped_at(moment)
        with pytest.raises(Stop):
            run(tmp_path, every=0, **TRAININGS[name])
    stopped_at(10_000)
    resumed = run(tmp_path, **TRAININGS[name])
    assert same(resumed.last_state, expected.last_state)
    assert same(resumed.best_state, expected.best_state)
    assert numbers(resumed.history).equals(numbers(expected.history))
    assert resumed.facts["updates"] == expected.facts["updates"]
    # Of a finished training the result is read.
    again = run(tmp_path, **TRAININGS[name])
    assert same(again.last_state, expected.last_state)
    assert same(again.best_state, expected.best_state)


def test_every_training_here_is_another_one(undisturbed):
    ends = [undisturbed(name).last_state["head.weight"] for name in TRAININGS]
    assert not any(torch.equal(a, b) for k, a in enumerate(ends) for b in ends[k + 1 :])


class Two(Objective):
    """Two optimisers that take turns, as those of a generator and its discriminator do."""

    def parameter_groups(self, model):
        return {"body": list(model.body.parameters()), "head": list(model.head.parameters())}

    def updates(self, model, batch):
        parts = self.losses(model, batch)
        yield Update(parts["total"].mean(), parts, ("head",))
        # The second loss is that of the weights after the first step.
        parts = self.losses(model, batch)
        yield Update(parts["total"].mean(), {"second": parts["total"]}, ("body",))


@pytest.fixture
def takes_turns(monkeypatch):
    monkeypatch.setattr("assay.training.loop.make_objective", lambda *_: Two())
    return {"optimizer": {**SGD, "groups": {"body": {"name": "Adam", "lr": 0.01}}}}


def test_optimisers_that_take_turns_go_on_with_the_same_bits(tmp_path, stopped_at, takes_turns):
    whole = run(tmp_path / "whole", **takes_turns)
    stopped_at(11)
    with pytest.raises(Stop):
        run(tmp_path / "stopped", every=0, **takes_turns)
    stopped_at(10_000)
    assert same(run(tmp_path / "stopped", **takes_turns).last_state, whole.last_state)
    assert {"train_loss", "train_second", "train_accuracy"} <= set(whole.history)


class Distilled(Objective):
    """Also brings the features close to those of a trained model."""

    def __init__(self, teacher):
        self.teacher = teacher

    def losses(self, model, batch):
        parts = super().losses(model, batch)
        distance = model.features(batch.images) - self.teacher.features(batch.images)
        return {**parts, "total": parts["total"] + distance.square().mean(dim=1)}


def test_a_model_that_an_objective_needs_is_evaluated_and_takes_no_gradient(tmp_path, monkeypatch):
    teacher, before = small(), small().state_dict()
    monkeypatch.setattr(
        "assay.training.loop.make_objective", lambda *given: Distilled(given[2]["teacher"])
    )
    run(tmp_path, epochs=1, needs={"teacher": teacher})
    assert not teacher.training
    assert same(teacher.state_dict(), before)
    assert all(weight.grad is None for weight in teacher.parameters())


def test_each_optimiser_moves_its_own_group_and_sees_the_steps_before():
    model, before = small().train(), small().state_dict()
    settings = {
        "optimizer": {"name": "SGD", "lr": 0.1, "groups": {"body": {"lr": 1e-9}}},
        "scheduler": None, "epochs": 1, "ema": None, "clip_norm": None, "mixed_precision": False,
    }  # fmt: skip
    optimisation = Optimisation(
        model, Two(), settings, steps_per_epoch=1, device=torch.device("cpu")
    )
    images, labels = torch.rand(8, 1, 8, 8), torch.arange(8) % 3
    parts = optimisation.step(Batch(images, labels, torch.Generator().manual_seed(0)))
    assert not torch.equal(parts["total"], parts["second"])
    assert not torch.equal(model.head.weight, before["head.weight"])
    assert torch.allclose(model.body[0].weight, before["body.0.weight"], atol=1e-6)


def test_average_clipping_and_decay_do_what_they_say(tmp_path):
    moved = {}
    for name, settings in {"plain": {}, "clipped": {"clip_norm": 1e-3}}.items():
        sgd = {"optimizer": {"name": "SGD", "lr": 1.0}, "scheduler": None}
        done = run(tmp_path / name, epochs=1, batch_size=TRAIN, **sgd, **settings).last_state
        change = torch.cat([(done[k] - v).flatten() for k, v in small().named_parameters()])
        moved[name] = change.norm().item()
    assert moved["clipped"] == pytest.approx(1e-3, rel=0.01)
    assert moved["plain"] > 0.01

    # After two steps: the first weights, then 0.75 of them and a quarter of the second ones.
    first = run(tmp_path / "1", epochs=1, batch_size=TRAIN, scheduler=None).last_state
    second = run(tmp_path / "2", epochs=2, batch_size=TRAIN, scheduler=None).last_state
    average = run(tmp_path / "3", epochs=2, batch_size=TRAIN, scheduler=None, ema=0.75)
    expected = 0.75 * first["head.weight"] + 0.25 * second["head.weight"]
    torch.testing.assert_close(average.last_state["head.weight"], expected)


def test_half_precision_moves_the_weights_like_full_precision(tmp_path):
    kinds = set()

    class Watched(Small):
        def logits(self, images, generator=None):
            found = super().logits(images, generator)
            if self.training:
                kinds.add(found.dtype)
            return found

    sgd = {"optimizer": {"name": "SGD", "lr": 0.1}, "epochs": 1}
    full = run(tmp_path / "full", **sgd).last_state["head.weight"]
    half = run(tmp_path / "half", small(Watched), mixed_precision=True, **sgd).last_state
    assert kinds == {torch.bfloat16}
    assert half["head.weight"].dtype == torch.float32
    assert not torch.equal(half["head.weight"], full)
    torch.testing.assert_close(half["head.weight"], full, atol=0.01, rtol=0.1)


@pytest.mark.parametrize("name", ["trades", "averaged"])
def test_a_training_killed_at_a_random_moment_ends_with_the_same_bits(tmp_path, name):
    settings = {**TRAININGS[name], "epochs": 12}
    expected = run(tmp_path / "whole", **settings)
    work = tmp_path / "killed"
    kill_a_training(work, 3 * TRAIN, **settings)
    resumed = run(work, **settings)
    assert same(resumed.last_state, expected.last_state)
    assert same(resumed.best_state, expected.best_state)
