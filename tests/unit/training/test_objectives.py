"""Objectives: what each minimises, and how a name becomes one."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from training_factory import CLASSES, SHAPE, run, small

from assay.foundation.errors import TrainingError
from assay.models.base import Classifier
from assay.models.gbz import GBZ
from assay.training.adversary import Adversary
from assay.training.objective import Batch, make_objective, objective_class

ADVERSARY = {"norm": "linf", "epsilon": 0.1, "steps": 3}


class Toy(Classifier):
    """A network with a hidden layer, in double precision."""

    def __init__(self):
        super().__init__(classes=CLASSES, shape=SHAPE)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 3))
        self.double()

    def features(self, images):
        return self.body[:-1](images)

    def logits(self, images, generator=None):
        return self.body(images)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(6, *SHAPE, generator=generator).double()
    return Batch(images, torch.tensor([0, 1, 2, 0, 1, 2]), torch.Generator().manual_seed(3))


def published_trades(model, x_natural, y, *, noise, step_size, epsilon, perturb_steps, beta):
    """trades_loss of github.com/yaodongyu/TRADES (L-infinity), with its noise given."""
    criterion_kl = nn.KLDivLoss(reduction="sum")
    model.eval()
    batch_size = len(x_natural)
    x_adv = x_natural.detach() + 0.001 * noise
    for _ in range(perturb_steps):
        x_adv.requires_grad_()
        with torch.enable_grad():
            loss_kl = criterion_kl(
                functional.log_softmax(model.logits(x_adv), dim=1),
                functional.softmax(model.logits(x_natural), dim=1),
            )
        grad = torch.autograd.grad(loss_kl, [x_adv])[0]
        x_adv = x_adv.detach() + step_size * torch.sign(grad.detach())
        x_adv = torch.min(torch.max(x_adv, x_natural - epsilon), x_natural + epsilon)
        x_adv = torch.clamp(x_adv, 0.0, 1.0)
    model.train()
    logits = model.logits(x_natural)
    loss_natural = functional.cross_entropy(logits, y)
    loss_robust = (1.0 / batch_size) * criterion_kl(
        functional.log_softmax(model.logits(x_adv), dim=1), functional.softmax(logits, dim=1)
    )
    return loss_natural + beta * loss_robust


@pytest.mark.parametrize("beta", [1.0, 6.0])
def test_trades_is_the_published_loss_with_its_gradients(batch, beta):
    model = small(Toy).train()
    noise = torch.randn(batch.images.shape, generator=torch.Generator().manual_seed(3))
    expected = published_trades(
        model, batch.images, batch.labels, noise=noise, step_size=2.5 * 0.1 / 3, epsilon=0.1,
        perturb_steps=3, beta=beta,
    )  # fmt: skip
    wanted = torch.autograd.grad(expected, list(model.parameters()))
    objective = make_objective({"name": "trades", "beta": beta}, ADVERSARY)
    (update,) = objective.updates(model, batch)
    found = torch.autograd.grad(update.loss, list(model.parameters()))
    torch.testing.assert_close(update.loss, expected)
    torch.testing.assert_close(found, wanted)
    assert model.training
    # Not the clean loss alone: the divergence has a part in the values and in the gradients.
    assert update.parts["divergence"].min() > 0
    torch.testing.assert_close(
        update.parts["total"], update.parts["clean"] + beta * update.parts["divergence"]
    )


def test_the_ascent_of_trades_raises_the_divergence_in_both_norms(batch):
    model = small(Toy)
    for norm, epsilon in (("linf", 0.1), ("l2", 0.5)):
        found = {}
        for steps in (1, 10):
            settings = {"norm": norm, "epsilon": epsilon, "steps": steps}
            objective = make_objective({"name": "trades"}, settings)
            (update,) = objective.updates(model, batch)
            found[steps] = update.parts["divergence"].mean().item()
        assert found[10] > 0.9 * found[1] > 0


def test_trades_with_beta_zero_is_standard_training(batch):
    model = small(Toy)
    (trades,) = make_objective({"name": "trades", "beta": 0}, ADVERSARY).updates(model, batch)
    (standard,) = make_objective({"name": "standard"}).updates(model, batch)
    assert torch.equal(trades.loss, standard.loss)
    assert torch.equal(trades.parts["accuracy"], standard.parts["accuracy"])


def test_trades_makes_a_network_smoother_than_standard_training(tmp_path):
    outputs = {}
    for name, settings in {
        "standard": {},
        "trades": {"objective": "trades", "adversary": {"norm": "linf", "epsilon": 0.2}},
    }.items():
        result = run(tmp_path / name, epochs=10, **settings)
        outputs[name] = result.history.iloc[-1]
    assert outputs["trades"].train_divergence > 0
    assert outputs["trades"].train_clean < outputs["trades"].train_loss
    assert outputs["trades"].val_clean_accuracy > 0.5


def test_madry_minimises_the_models_loss_on_the_images_of_its_adversary(batch):
    model = small(Toy)
    (update,) = make_objective({"name": "madry"}, ADVERSARY).updates(model, batch)
    adversary = Adversary.of(ADVERSARY)
    images = adversary(model, batch.images, batch.labels, torch.Generator().manual_seed(3))
    expected = functional.cross_entropy(model.logits(images), batch.labels)
    torch.testing.assert_close(update.loss, expected)
    assert expected > functional.cross_entropy(model.logits(batch.images), batch.labels)


def test_elbo_is_the_sum_and_standard_the_mean(batch):
    model = small(Toy)
    (mean,) = make_objective({"name": "standard"}).updates(model, batch)
    (total,) = make_objective({"name": "elbo"}).updates(model, batch)
    torch.testing.assert_close(total.loss, 6 * mean.loss)


@pytest.mark.parametrize(
    ("settings", "adversary", "message"),
    [
        ({"name": "trade"}, ADVERSARY, "no objective 'trade'; did you mean 'trades'"),
        ({"name": "trades", "betta": 1}, ADVERSARY, "no setting 'betta'; did you mean 'beta'"),
        ({"name": "madry", "adversary": ADVERSARY}, ADVERSARY, "no setting 'adversary'"),
        ({"name": "trades", "beta": -1}, ADVERSARY, "beta: -1 is negative"),
        ({"name": "trades"}, None, "needs an adversary; write"),
        ({"name": "madry"}, {"norm": "l1", "epsilon": 1}, "'l1' is not a norm"),
        ({"name": "standard"}, ADVERSARY, "objective 'standard' has no adversary; .*madry"),
    ],
)
def test_impossible_objectives_are_named(settings, adversary, message):
    with pytest.raises(TrainingError, match=message):
        make_objective(settings, adversary)


def test_trades_refuses_a_model_with_a_loss_of_its_own(batch):
    model = GBZ(classes=CLASSES, shape=SHAPE, latent_dim=2, samples=2)
    with pytest.raises(TrainingError, match="GBZ is not trained by the cross-entropy"):
        next(make_objective({"name": "trades"}, ADVERSARY).updates(model, batch))


def test_every_objective_says_what_it_is():
    for name in ("standard", "elbo", "madry", "trades", "api", "masked"):
        assert objective_class(name).__doc__.startswith("Minimises")
