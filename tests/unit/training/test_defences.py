"""The objectives of defences: joint training of API-Net, and training on completed images."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional
from training_factory import CLASSES, SHAPE, run, small

from assay.foundation.errors import ModelError, TrainingError
from assay.models.api import Api
from assay.models.base import Classifier
from assay.models.masked import Completion
from assay.training.adversary import Adversary
from assay.training.objective import Batch, make_objective

ADVERSARY = {"norm": "linf", "epsilon": 0.1, "steps": 3}
API = {"name": "api", "radius": 0.1, "step": 0.02, "noise": 0.0}


class Toy(Classifier):
    """A network with a hidden layer."""

    def __init__(self):
        super().__init__(classes=CLASSES, shape=SHAPE)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh())
        self.head = nn.Linear(16, CLASSES)

    def features(self, images):
        return self.body(images)

    def logits(self, images, generator=None):
        return self.head(self.features(images))


class Normed(Classifier):
    """A network with batch statistics, in one layer."""

    def __init__(self):
        super().__init__(classes=CLASSES, shape=SHAPE)
        self.norm = nn.BatchNorm2d(1)
        self.head = nn.Linear(64, CLASSES)

    def features(self, images):
        return self.norm(images).flatten(1)

    def logits(self, images, generator=None):
        return self.head(self.features(images))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(6, *SHAPE, generator=generator)
    return Batch(images, torch.tensor([0, 1, 2, 0, 1, 2]), torch.Generator().manual_seed(3))


def by_hand(model, batch, *, as_coded):
    """Scores of a loop over the classes, on images that are perturbed against the network."""
    generator = torch.Generator().manual_seed(3)
    adversary = Adversary.of(ADVERSARY)
    images = adversary(model, batch.images, batch.labels, generator)
    model.eval()
    changed = []
    for c in range(CLASSES):
        target = torch.full((len(images),), c)
        z = images.clone()
        for _ in range(8):
            z.requires_grad_()
            loss = functional.cross_entropy(model.logits(z), target, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, z)
            z = z.detach() - 0.02 * gradient.sign()
            z = (images + (z - images).clamp(-0.1, 0.1)).clamp(0, 1)
        changed.append(z)
    model.train()
    if as_coded:
        with torch.no_grad():
            model.logits(batch.images)
            model.logits(images)
        logits = [model.logits(z) for z in changed]
    else:
        logits = model.logits(torch.stack(changed, 1).flatten(0, 1)).unflatten(0, (6, CLASSES))
        logits = logits.unbind(dim=1)
    scores = [functional.log_softmax(part, 1)[:, c] for c, part in enumerate(logits)]
    return functional.cross_entropy(torch.stack(scores, dim=1), batch.labels)


@pytest.mark.parametrize("as_coded", [False, True])
def test_joint_training_is_the_cross_entropy_of_a_loop_over_the_classes(batch, as_coded):
    """With the batch statistics of the code, or all classes as one batch."""
    model, other = small(Normed).train(), small(Normed).train()
    expected = by_hand(other, batch, as_coded=as_coded)
    wanted = torch.autograd.grad(expected, list(other.parameters()))
    objective = make_objective({**API, "as_coded": as_coded}, ADVERSARY)
    (update,) = objective.updates(model, batch)
    torch.testing.assert_close(update.loss, expected, atol=1e-4, rtol=1e-4)
    found = torch.autograd.grad(update.loss, list(model.parameters()))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(model.norm.running_mean, other.norm.running_mean)
    torch.testing.assert_close(model.norm.running_var, other.norm.running_var)
    assert int(model.norm.num_batches_tracked) == (2 + CLASSES if as_coded else 1)
    assert model.training


def test_joint_training_raises_the_accuracy_of_the_inference_on_perturbed_images(tmp_path):
    result = run(tmp_path, model=small(Toy), epochs=10, objective=API, adversary=ADVERSARY)
    first, last = result.history.iloc[0], result.history.iloc[-1]
    assert last.train_loss < first.train_loss
    assert last.val_accuracy > max(0.6, first.val_accuracy - 0.1)
    assert last.val_clean_accuracy >= last.val_accuracy


def test_the_validation_of_joint_training_is_the_decision_of_the_inference(batch):
    model = small(Toy).eval()
    objective = make_objective(API, ADVERSARY)
    images = Adversary.of(ADVERSARY)(model, batch.images, batch.labels, batch.generator)
    found = objective.validate(model, batch.images, batch.labels, torch.Generator().manual_seed(3))
    defence = Api(base=small(Toy), classes=CLASSES, shape=SHAPE, radius=0.1, step=0.02, noise=0.0)
    scores = defence.eval().logits(images)
    torch.testing.assert_close(
        found["total"], functional.cross_entropy(scores, batch.labels, reduction="none")
    )
    right = defence.logits(batch.images).argmax(1) == batch.labels
    assert found["clean_accuracy"].tolist() == right.float().tolist()


def test_training_on_completed_images_keeps_ten_shares_of_their_pixels(monkeypatch):
    """The first end is not among them, as in the published code."""
    seen = []

    def completed(self, images, kept, generator):
        seen.append(kept)
        return images

    monkeypatch.setattr(Completion, "completed", completed)
    images = torch.rand(2000, *SHAPE)
    batch = Batch(images, torch.zeros(2000, dtype=torch.long), torch.Generator().manual_seed(3))
    objective = make_objective({"name": "masked", "observed": [0.4, 0.6]})
    objective.losses(small(Toy), batch)
    shares = seen[0].unique()
    torch.testing.assert_close(shares, torch.linspace(0.42, 0.6, 10))
    objective.validate(small(Toy).eval(), images, batch.labels, batch.generator)
    assert seen[1].unique().tolist() == pytest.approx([0.5])


def test_the_adversary_of_completed_images_sees_new_masks_at_each_step(batch, monkeypatch):
    model, masks, completed = small(Toy), [], Completion.completed

    def watched(self, images, kept, generator):
        found = completed(self, images, kept, generator)
        masks.append((found - images).abs() < 1e-6)
        return found

    monkeypatch.setattr(Completion, "completed", watched)
    settings = {"name": "masked", "estimator": "soft_impute"}
    (update,) = make_objective(settings, ADVERSARY).updates(model, batch)
    assert len(masks) == 3 + 1
    assert not any(torch.equal(first, second) for first, second in itertools.pairwise(masks))
    assert update.loss.requires_grad
    plain = make_objective(settings).losses(
        model, Batch(batch.images, batch.labels, torch.Generator().manual_seed(3))
    )
    assert update.loss > plain["total"].mean()


def test_training_on_completed_images_learns(tmp_path):
    result = run(tmp_path, model=small(Toy), epochs=12, objective={"name": "masked"})
    assert result.history.iloc[-1].val_accuracy > 0.6


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({**API, "radius": 0.0}, ModelError, r"settings\.radius: a radius of 0"),
        ({"name": "masked", "observed": [0.0, 0.5]}, ModelError, r"observed: a share of 0\.0"),
        ({"name": "masked", "observed": [0.5]}, TrainingError, r"write for example observed"),
        ({"name": "masked", "estimator": "svd"}, ModelError, r"'svd' is not allowed"),
        ({"name": "trades", "start": "far"}, TrainingError, r"use near or anywhere"),
    ],
)
def test_impossible_settings_are_one_line(settings, error, message):
    with pytest.raises(error, match=message):
        make_objective(settings, ADVERSARY)


def test_trades_may_begin_anywhere_in_the_ball(batch, monkeypatch):
    starts = []
    ascend = Adversary.ascend
    monkeypatch.setattr(
        Adversary, "ascend", lambda self, images, start, loss: (
            starts.append((start - images).abs().max().item()) or ascend(self, images, start, loss)
        ),
    )  # fmt: skip
    for start in ("near", "anywhere"):
        objective = make_objective({"name": "trades", "start": start}, ADVERSARY)
        next(objective.updates(small(Toy), batch))
    assert starts[0] < 0.01
    assert 0.09 < starts[1] <= 0.1 + 1e-6
