"""Wrappers: a base with its trained weights, its views, and the wrapper's own decision."""

import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from assay.attacks.pgd import PGD
from assay.foundation.errors import ModelError
from assay.models.base import Classifier, build, build_needs, load_weights, save_weights
from assay.models.noisy import Noisy
from assay.models.outside import Outside
from assay.models.quantised import Quantised
from assay.models.wrapper import Wrapper

SHAPE, CLASSES = (1, 4, 4), 3


class Plain(Classifier):
    """A linear network with dropout, which evaluation mode turns off."""

    def __init__(self, *, classes=CLASSES, shape=SHAPE):
        super().__init__(classes=classes, shape=shape)
        self.body = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, classes))

    def features(self, images):
        return images.flatten(1)

    def logits(self, images, generator=None):
        return self.body(images)


class Inverted(Wrapper):
    """Shows its base the negative."""

    def changed(self, images, generator=None):
        return 1 - images


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def base():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Plain()


@pytest.fixture
def images():
    return torch.rand(6, *SHAPE, generator=seeded(1))


def wrapped(kind, base, **settings):
    return kind(base=base, classes=CLASSES, shape=SHAPE, **settings)


def test_a_wrapper_decides_with_what_its_base_sees_and_never_trains_it(base, images):
    model = wrapped(Inverted, base).train()
    assert torch.equal(model.logits(images), base.logits(1 - images))
    assert not base.training
    assert not any(item.requires_grad for item in model.parameters())
    facts = model.facts()
    assert facts["base"] == "Plain"
    assert facts["pretrained_reason"] == "the weights are those of its base"


def test_the_views_of_the_base_are_there_through_the_wrapper_and_around_it(base, images):
    views = wrapped(Inverted, base).eval().victim().views
    assert list(views) == ["through_model", "base_model"]
    leaf = images.clone().requires_grad_()
    for name, seen in (("through_model", 1 - images), ("base_model", images)):
        found = views[name].logits(leaf, seeded())
        torch.testing.assert_close(found, base.logits(seen))
        (gradient,) = torch.autograd.grad(found[:, 0].sum(), leaf)
        weight = base.body[2].weight[0].view(SHAPE)
        wanted = -weight if name == "through_model" else weight
        torch.testing.assert_close(gradient, wanted.expand_as(gradient))


def test_where_a_wrapper_has_no_gradient_its_views_take_that_of_the_identity(base, images):
    model = wrapped(Quantised, base, bits=1).eval()
    assert set(model.changed(images).unique().tolist()) <= {0.0, 1.0}
    view = model.victim().views["through_model"]
    leaf = images.clone().requires_grad_()
    logits = view.logits(leaf, seeded())
    assert torch.equal(logits, model.logits(images))
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), leaf)
    torch.testing.assert_close(gradient, base.body[2].weight[0].view(SHAPE).expand_as(gradient))


def test_an_attack_succeeds_on_a_wrapper_without_a_gradient_by_its_base(base, images):
    model = wrapped(Quantised, base, bits=4).eval()
    labels = model.logits(images).argmax(dim=1)
    attack = PGD(norm="linf", steps=10)
    found = attack(model.victim(), images, labels, [0.5], seeded())
    assert found.misclassified.any()


def test_noise_is_random_and_the_mean_over_copies_comes_close_to_its_limit(base, images):
    model = wrapped(Noisy, base, deviation=0.5, samples=200).eval()
    assert model.stochastic
    first, second = model.logits(images, seeded(1)), model.logits(images, seeded(2))
    assert not torch.equal(first, second)
    assert torch.equal(first, model.logits(images, seeded(1)))
    torch.testing.assert_close(first.exp(), second.exp(), atol=0.1, rtol=0)
    torch.testing.assert_close(first.exp().sum(dim=1), torch.ones(6))
    still = wrapped(Noisy, base, deviation=0.0, samples=3)
    torch.testing.assert_close(still.logits(images).softmax(1), base.logits(images).softmax(1))
    views = model.victim().views
    assert views["through_model"].eot_samples == views["through_model"].passes == 200
    assert views["base_model"].deterministic
    assert not views["through_model"].deterministic


def entry(kind="noisy:Noisy", **more):
    base = {"name": "small", "implementation": "assay.models.cnn:CNN", "settings": {}}
    return {
        "implementation": f"assay.models.{kind}", "settings": {}, "needs": {"base": base}, **more
    }  # fmt: skip


def test_a_wrapper_is_built_from_its_entry_and_its_weights_hold_those_of_its_base(tmp_path):
    shape = {"classes": CLASSES, "shape": (1, 28, 28)}
    trained = build("small", entry()["needs"]["base"], seed=5, **shape)
    first = build("noisy", entry(), needs={"base": trained}, **shape)
    save_weights(first, tmp_path / "noisy.safetensors")
    again = build("noisy", entry(), **shape)
    load_weights(again, tmp_path / "noisy.safetensors")
    images = torch.rand(2, 1, 28, 28, generator=seeded())
    expected = first.eval().logits(images, seeded())
    assert torch.equal(again.eval().logits(images, seeded()), expected)


@pytest.fixture(params=["torchscript", "exported", "implementation"])
def outside(request, tmp_path, monkeypatch):
    """The entry of a linear network from outside, whose file is in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, CLASSES)).eval()
    images = torch.rand(2, *SHAPE)
    if request.param == "torchscript":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.jit.save(torch.jit.trace(net, images), "linear.pt")
        settings = {"torchscript": "linear.pt"}
    elif request.param == "exported":
        dynamic = ({0: torch.export.Dim("batch", min=1, max=64)},)
        torch.export.save(torch.export.export(net, (images,), dynamic_shapes=dynamic), "linear.pt2")
        settings = {"exported": "linear.pt2"}
    else:
        Path("linear_net.py").write_text(
            "from torch import nn\n"
            "class Linear(nn.Sequential):\n"
            "    def __init__(self, classes, drop=0.5):\n"
            "        super().__init__(nn.Flatten(), nn.Dropout(drop), nn.Linear(16, classes))\n"
        )
        settings = {"implementation": "linear_net:Linear", "arguments": {"drop": 0.3}}
    return {"name": "linear", "implementation": "assay.models.outside:network",
            "settings": settings}  # fmt: skip


def test_a_model_from_outside_can_be_the_base_of_a_wrapper(outside, images):
    sizes = {"classes": CLASSES, "shape": SHAPE}
    base = build("linear", outside, seed=1, **sizes)
    save_weights(base, "linear.safetensors")
    made = {**entry("quantised:Quantised"), "needs": {"base": outside}}
    needs = build_needs(made, ["linear.safetensors"], **sizes)
    first = build("wrapper", made, needs=needs, **sizes)
    save_weights(first, "wrapper.safetensors")
    again = build("wrapper", made, seed=2, **sizes)
    load_weights(again, "wrapper.safetensors")
    levels = (images * 7).round() / 7
    for model in (first, again.train()):
        torch.testing.assert_close(model.logits(images), base.logits(levels))
    victim = again.victim()
    assert list(victim.views) == ["through_model", "base_model"]
    labels = again.logits(images).argmax(dim=1)
    attacked = PGD(norm="linf", steps=5)(victim, images, labels, [0.0, 0.5], seeded())
    assert not attacked.misclassified[0].any()
    assert attacked.misclassified[1].any()


class Viewing(nn.Module):
    """Reshapes a feature map by ``view``, which needs its channels outermost."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3)

    def forward(self, images):
        return self.convolution(images).view(len(images), -1)[:, :CLASSES]


def test_the_filters_of_a_base_keep_the_layout_that_it_needs(images):
    base = Outside(Viewing(), classes=CLASSES, shape=SHAPE)
    victim = wrapped(Inverted, base).victim()
    torch.testing.assert_close(victim.logits(images, seeded()), base.logits(1 - images))


def test_a_wrapper_from_outside_gets_its_base(base, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("my_wrapper.py").write_text(
        "from assay.models.wrapper import Wrapper\n"
        "class Negative(Wrapper):\n"
        "    def changed(self, images, generator=None):\n"
        "        return 1 - images\n"
    )
    settings = {"implementation": "my_wrapper:Negative"}
    made = entry(implementation="assay.models.outside:network", settings=settings)
    model = build("x", made, needs={"base": base}, classes=CLASSES, shape=SHAPE)
    assert torch.equal(model.logits(images), base.logits(1 - images))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda base: build("x", entry(needs={}), classes=3, shape=(1, 28, 28)), "needs another"),
        (lambda base: wrapped(Noisy, base, samples=0), "0 samples are impossible"),
        (lambda base: wrapped(Quantised, base, bits=9), "9 is not a number of bits"),
    ],
)
def test_impossible_wrappers_are_named(base, made, message):
    with pytest.raises(ModelError, match=message):
        made(base)
