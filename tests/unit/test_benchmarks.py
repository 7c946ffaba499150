"""The benchmarks: who is charged for which pass, what may be claimed, what the loops compute."""

import importlib
import sys

import pytest
import torch
from torch import nn

from assay.attacks.fgsm import FGSM
from assay.attacks.victim import Victim
from assay.foundation.resources import ROOT

IMAGES = 6


@pytest.fixture(scope="module")
def accounting():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("accounting")
    sys.path.remove(str(ROOT / "benchmarks"))


class Network(nn.Module):
    """Counts the images that it is asked about; class 0 wherever the first pixel is dark."""

    def __init__(self):
        super().__init__()
        self.asked = 0

    def forward(self, x):
        self.asked += len(x)
        return torch.stack([0.5 - x[:, 0, 0, 0], x[:, 0, 0, 0] - 0.5], dim=1) * 4


class Baseline:
    """One pass over the images, which it returns brightened."""

    def __init__(self, module, tells=False):
        self.module, self.tells = module, tells

    def __call__(self, x, y):
        self.module(x)
        return (x + 0.3).clamp(0, 1)


@pytest.fixture
def contest(accounting):
    ours, theirs = Network().eval(), Network().eval()
    images = torch.full((IMAGES, 1, 2, 2), 0.4)
    labels = torch.zeros(IMAGES, dtype=torch.int64)
    victim = Victim.from_module(ours, classes=2, shape=(1, 2, 2))
    rivals = {"silent": Baseline(theirs), "telling": Baseline(theirs, tells=True)}
    runs = accounting.accounts(FGSM(), victim, theirs, rivals, images, labels, 0.3)

    def passes(kind, name):
        victim.forwards = theirs.asked = 0
        found = runs[kind][name](images, labels)
        assert found.shape == images.shape
        assert (found - images).abs().amax() == pytest.approx(0.3)
        return (victim.forwards if name == "assay" else theirs.asked) / IMAGES

    return passes, runs, images, labels


def test_as_called_we_pay_the_clean_decision_and_the_judging_and_a_library_pays_its_call(contest):
    passes, *_ = contest
    assert passes("as_called", "assay") == 3  # clean decision, gradient, judging
    assert passes("as_called", "silent") == 1
    assert passes("as_called", "telling") == 1


def test_the_same_work_charges_a_judging_pass_to_both_unless_the_call_tells_by_itself(contest):
    passes, *_ = contest
    assert passes("same_work", "assay") == 2  # gradient, judging
    assert passes("same_work", "silent") == 2
    assert passes("same_work", "telling") == 1


def test_a_call_that_both_accountings_share_is_timed_once_and_stands_in_both(accounting, contest):
    _, runs, images, labels = contest
    names = ["assay", "silent", "telling"]
    bare = {"forward": lambda: None, "gradient": lambda: None}
    seconds = accounting.timed(runs, names, bare, images, labels, rounds=2)
    assert set(seconds) == {"as_called", "same_work", "bare"}
    assert set(seconds["as_called"]) == set(seconds["same_work"]) == set(names)
    assert all(len(values) == 2 for kind in seconds.values() for values in kind.values())
    assert seconds["as_called"]["telling"] is seconds["same_work"]["telling"]
    assert seconds["as_called"]["silent"] is not seconds["same_work"]["silent"]


def row(**changes):
    """A row where assay is twice as fast under the same work and half as fast as called."""
    profile = {"misclassified": 3, "median": None, "forwards": 20, "backwards": 10}
    run = {
        "bare_images": 10,
        "as_called": {"assay": [2.0, 2.0], "slow": [4.0, 4.0], "quick": [1.0, 1.0]},
        "same_work": {"assay": [1.0, 1.0], "slow": [4.0, 4.0], "quick": [2.0, 2.0]},
        "bare": {"forward": [0.3, 0.3], "gradient": [0.6, 0.6]},
    }
    return {
        "epsilon": 0.3,
        "images": 10,
        "bar": 1.1,
        "floor": None,
        "profiles": {name: dict(profile) for name in ("assay", "slow", "quick")},
        "runs": {"1": run, "2": run},
        **changes,
    }


def test_a_ratio_is_against_the_strongest_contender_of_its_own_accounting(accounting):
    libraries = ["slow", "quick"]
    assert accounting.gain(row(), "as_called", "1", libraries) == 0.5
    assert accounting.gain(row(), "same_work", "1", libraries) == 2.0
    assert accounting.over_floor(row(), "assay", "2") == pytest.approx(1 / 0.9)


def test_a_row_that_is_slower_as_called_does_not_meet_its_bar(accounting):
    assert accounting.met(row(), ["slow", "quick"]) is False
    assert accounting.met(row(bar=0.5), ["slow", "quick"]) is True
    assert accounting.met(row(bar=0.5, floor=1.0), ["slow", "quick"]) is False


def test_nothing_is_claimed_before_everybody_was_measured_both_ways_with_one_and_two_threads(
    accounting,
):
    everybody = ["slow", "quick", "newcomer"]
    assert accounting.gain(row(), "same_work", "1", everybody) is None
    assert accounting.met(row(bar=0.5), everybody) is None
    half = row(bar=0.5)
    half["runs"] = {
        "2": {key: half["runs"]["2"][key] for key in ("same_work", "bare", "bare_images")}
    }
    assert accounting.gain(half, "same_work", "2", ["slow", "quick"]) == 2.0
    assert accounting.gain(half, "as_called", "2", ["slow", "quick"]) is None
    assert accounting.met(half, ["slow", "quick"]) is None


@pytest.fixture(scope="module")
def inference(accounting):
    return importlib.import_module("inference")


def test_the_loops_of_abs_differ_in_what_they_compute_and_not_in_what_they_decide(inference):
    model = inference.abs_model(stop_early=False, candidates=40, steps=1)
    x = torch.rand(9, 1, 28, 28, generator=torch.Generator().manual_seed(3))
    found = []
    for product, piece, weights in inference.LOOPS.values():
        loop = inference.ClassLoop(model, product, piece, weights)
        found.append((loop.nearest(x[:8]), loop(x)))
    for codes, logits in found[1:]:
        assert torch.equal(codes, found[0][0])
        torch.testing.assert_close(logits, found[0][1], atol=1e-3, rtol=1e-4)
    assert {product for product, *_ in inference.LOOPS.values()} == {False, True}


def test_a_loop_with_a_matrix_product_subtracts_no_candidate(inference, monkeypatch):
    model = inference.abs_model(stop_early=False, candidates=40, steps=1)
    x = torch.rand(2, 1, 28, 28)
    subtracting, multiplying = (
        inference.ClassLoop(model, product, None, False) for product in (False, True)
    )

    def refuse(*_):
        raise AssertionError("subtracted")

    monkeypatch.setattr(inference.ClassLoop, "error", refuse)
    assert multiplying.nearest(x).shape == (2, 10, model.latent_dim)
    with pytest.raises(AssertionError, match="subtracted"):
        subtracting.nearest(x)


def test_the_loop_of_api_net_decides_as_the_search_of_all_classes(accounting):
    search = importlib.import_module("image_search")
    base = search.network("SmallCNN", as_public=True)
    x = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    scores = search.defence(search.network("SmallCNN"), noise=0.0).logits(x)
    torch.testing.assert_close(search.loop(base, x), scores, atol=0.02, rtol=0.02)
    assert base.head.weight.grad.abs().sum() > 0
