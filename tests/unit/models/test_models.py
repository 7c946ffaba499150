"""What holds for every model of the catalogue, and building, saving and loading."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from assay.evaluation.check import Subject, give_images
from assay.evaluation.conformance import CHECKS
from assay.foundation.errors import ModelError
from assay.models.base import build, load_weights, save_weights
from assay.models.dbx import DBX
from assay.plan.cells import with_needs
from assay.plan.configuration import read_configuration

CATALOGUE = read_configuration({"scale": "paper"}).unscaled["models"]
SHAPE, CLASSES = (1, 28, 28), 4
# Instead of the catalogue's own, so that no test waits.
SMALL = {"input_size": None, "width": 8, "candidates": 20, "steps": 6, "padding": "same"}


def small(entry: dict) -> dict:
    """An entry of a small network, with what it needs."""
    settings = {key: SMALL.get(key, value) for key, value in entry["settings"].items()}
    needs = {role: small(other) for role, other in entry["needs"].items()}
    return {**entry, "settings": settings, "needs": needs}


def made(name: str, seed: int = 0, **settings):
    """The catalogue's model on small images, as if its published weights had been loaded."""
    entry = small(with_needs(CATALOGUE, name))
    entry["settings"] |= settings
    model = build(name, entry, classes=CLASSES, shape=SHAPE, seed=seed)
    model.awaits = None
    give_images(model, seeded())
    return model


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, *SHAPE, generator=seeded(1))


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.tensor([0, 1, 2, 3, 0, 1])


def settled(model):
    """With running statistics of the activations, without which those of deep networks explode."""
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the plain mean over all batches
    with torch.no_grad():
        model.train().training_loss(
            torch.rand(16, *SHAPE, generator=seeded(2)), torch.arange(16) % CLASSES, seeded()
        )
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.eval()


def kind(name: str) -> str:
    """Equal for entries of one class and one base with the same settings but for a radius."""
    entry = small(with_needs(CATALOGUE, name))
    bases = [[one["implementation"], one["settings"]] for one in entry["needs"].values()]
    settings = {key: value for key, value in entry["settings"].items() if key != "radius"}
    return json.dumps([entry["implementation"], settings, bases], sort_keys=True)


KINDS = {kind(name): name for name in sorted(CATALOGUE, reverse=True)}


@pytest.fixture(scope="module", params=sorted(KINDS.values()))
def subject(request):
    """A model of the catalogue, as the conformance checks take it."""
    return Subject(settled(made(request.param)), lambda: made(request.param, seed=7))


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_every_model_of_the_catalogue_passes_every_check(subject, check):
    result = check.run(subject)
    assert result.status in ("pass", "skip"), result


def test_a_victim_is_a_frozen_copy(images, labels):
    model = made("gbz_as_coded").train()
    victim = model.victim("cpu")
    for view in victim.views.values():
        _, _, gradient = victim.gradient(view, images, labels, None, seeded())
        assert gradient.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert model.training
    before = victim.logits(images, seeded())
    with torch.no_grad():
        model.encoder.mean.weight.zero_()
    assert torch.equal(victim.logits(images, seeded()), before)


def test_a_victim_of_batch_normalisation_is_in_evaluation_mode(images):
    model = made("resnet18").train()
    victim = model.victim("cpu")
    together = victim.logits(images, seeded())
    torch.testing.assert_close(victim.logits(images[:1], seeded()), together[:1])


def test_a_victim_says_what_the_model_is(images):
    stochastic, plain = made("gbz").victim("cpu"), made("resnet18").victim("cpu")
    assert stochastic.stochastic
    assert stochastic.has_log_px
    assert stochastic.log_px(images, seeded()).isfinite().all()
    assert not plain.stochastic
    assert not plain.has_log_px


@torch.no_grad()
def test_dbx_decides_by_the_mean_of_class_probabilities_over_its_samples(images):
    model = made("dbx", samples=500)
    mean, log_variance = model.encoder(images)
    noise = torch.randn(500, *mean.shape, generator=seeded(2))
    expected = model.classifier(mean + (0.5 * log_variance).exp() * noise).softmax(-1).mean(0)
    torch.testing.assert_close(model.logits(images, seeded(2)).exp(), expected)


@torch.no_grad()
def test_dbx_samples_are_independent_decisions(images):
    model = made("dbx", samples=2)
    repeated = model.repeated_logits(images, 600, seeded(1)).exp()
    calls = torch.stack([model.logits(images, g) for g in [seeded(2)] for _ in range(600)]).exp()
    torch.testing.assert_close(repeated.mean(0), calls.mean(0), atol=1e-2, rtol=0)
    torch.testing.assert_close(repeated.std(0), calls.std(0), rtol=0.15, atol=1e-3)


def test_dbx_weighs_its_kl_by_beta(images, labels):
    model = DBX(classes=CLASSES, shape=SHAPE, beta=0.25)
    parts = model.training_loss(images, labels, seeded())
    torch.testing.assert_close(parts["total"], parts["classification"] + 0.25 * parts["kl"])
    for view in model.views().values():
        torch.testing.assert_close(view.training_loss(images, labels, seeded()), parts["total"])


def test_initial_weights_follow_the_seed_and_nothing_else():
    state = torch.random.get_rng_state()
    first = made("dbx", seed=5).state_dict()
    torch.rand(7)
    second, other = made("dbx", seed=5).state_dict(), made("dbx", seed=6).state_dict()
    torch.random.set_rng_state(state)
    made("dbx", seed=5)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_weights_come_back_as_they_were_saved(tmp_path, images):
    model, other = made("resnet18", seed=1), made("resnet18", seed=2)
    model.train().logits(images)  # moves the statistics of batch normalisation
    save_weights(model, tmp_path / "weights.safetensors")
    load_weights(other, tmp_path / "weights.safetensors")
    assert all(
        torch.equal(value, other.state_dict()[key]) for key, value in model.state_dict().items()
    )


def test_saved_weights_are_the_same_bytes_each_time(tmp_path):
    for name in "ab":
        save_weights(made("dbx", seed=1).state_dict(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_borrowing_entry_takes_the_weights_of_its_owner(tmp_path, images):
    for name, entry in CATALOGUE.items():
        if owner := entry.get("shares_weights_with"):
            save_weights(made(owner, seed=1), tmp_path / "weights")
            load_weights(made(name, seed=2), tmp_path / "weights")


@pytest.mark.parametrize("kept", [0, 5, 1000, -1])
def test_truncated_weights_are_refused_with_the_files_name(tmp_path, kept):
    path = tmp_path / "weights.safetensors"
    save_weights(made("dbx"), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelError, match=r"weights\.safetensors: the weights cannot be read"):
        load_weights(made("dbx"), path)


def test_missing_weights_are_refused_with_the_files_name(tmp_path):
    with pytest.raises(ModelError, match="nowhere"):
        load_weights(made("dbx"), tmp_path / "nowhere")


def test_weights_of_another_architecture_are_refused(tmp_path):
    path = tmp_path / "weights"
    save_weights(made("dbx"), path)
    with pytest.raises(ModelError, match="another architecture"):
        load_weights(made("gbz"), path)
    with pytest.raises(ModelError, match="another architecture"):
        load_weights(made("dbx", latent_dim=7), path)
    state = load_file(path)
    state.pop("encoder.mean.bias")
    save_file(state, path)
    with pytest.raises(ModelError, match=r"encoder\.mean\.bias"):
        load_weights(made("dbx"), path)


def test_an_unknown_setting_is_refused_with_the_known_ones():
    with pytest.raises(ModelError, match=r"model 'dbx': settings: unknown key 'sample'.*samples"):
        made("dbx", sample=3)


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_every_entry_says_its_source_and_how_it_differs(name):
    entry = CATALOGUE[name]
    assert entry["source"]
    assert entry["differences"]
    assert entry["family"] in ("generative", "discriminative")


@pytest.mark.parametrize("name", [name for name in CATALOGUE if CATALOGUE[name].get("images")])
def test_an_entry_knows_which_images_its_network_takes(name):
    entry, wanted = with_needs(CATALOGUE, name), CATALOGUE[name]["images"]
    smallest = wanted.get("smallest", 1)
    fitting = wanted.get("shapes", [[1, smallest, smallest], [3, smallest, smallest + 9]])
    others = [[1, smallest - 1, smallest + 9]] if "smallest" in wanted else [[3, 28, 28]]
    for shape in fitting:
        build(name, entry, classes=2, shape=tuple(shape))
    for shape in others:
        with pytest.raises(ModelError, match=r"pixels are too small|makes images of shape"):
            build(name, entry, classes=2, shape=tuple(shape))


@pytest.mark.parametrize(
    "name", [name for name in CATALOGUE if CATALOGUE[name]["family"] == "generative"]
)
def test_an_entry_knows_whether_its_network_reconstructs_each_class(name):
    views = made(name).views().values()
    found = {view.reconstructions is not None for view in views}
    assert found == {CATALOGUE[name]["reconstructions"]}
