"""What an evaluation relies on in a model, as a list of checks that anybody can run.

The models of this package and classes from outside go through the same list: the tests of the
former, ``assay check`` and the job that checks the entries of a run call it. Each check is a
sentence that holds for a model, and what to do where it does not.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from assay.attacks.torch_state import drawn_state
from assay.attacks.victim import View
from assay.evaluation.check import IMAGES, Check, Failed, Result, Skipped, Subject
from assay.evaluation.inspection import (
    TOLERANCE,
    depends_on_neighbours,
    inspect_victim,
    is_probabilities,
)
from assay.foundation.errors import ModelError
from assay.models.base import Classifier
from assay.models.outside import Outside

# Steps along a gradient, and their length.
STEPS, STEP = 5, 0.05
# Repeated decisions whose mean is compared before and after these steps; of a model that searches
# at test time fewer, since each costs as much as dozens of others.
REPEATS, REPEATS_OF_A_SEARCH = 40, 4


CHECKS: list[Check] = []
# The check that a model without any gradient fails.
GRADIENT = "a gradient of some view reaches some image"


def _check(sentence: str, remedy: str, needed: bool = False) -> Callable:
    def listed(test: Callable[[Subject], None]) -> Callable[[Subject], None]:
        CHECKS.append(Check(sentence, remedy, needed, test))
        return test

    return listed


def check_classifier(
    model: nn.Module | Callable[[], nn.Module],
    *,
    classes: int,
    shape: tuple[int, int, int],
    checks: Iterable[Check] | None = None,
    raises: bool = True,
) -> list[Result]:
    """Runs the checks that the models of this package pass on any model.

    Args:
        model: a `Classifier`; any module, images (B, C, H, W) in [0, 1] to logits (B, K); or a
            function that builds one of them. A function lets the weights be checked, too.
        classes: number of classes K.
        shape: (C, H, W) of the images.
        checks: of :data:`CHECKS`; None: all.
        raises: whether a failure is an error.

    Returns:
        A result for each check.

    Raises:
        ModelError: a check failed; the message names the first and the number of the others.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
        >>> results = check_classifier(network, classes=3, shape=(3, 2, 2))
        >>> {result.status for result in results} <= {"pass", "skip"}
        True
    """

    def opened(module: nn.Module) -> Classifier:
        if isinstance(module, Classifier):
            return module
        return Outside(module, classes=classes, shape=shape)

    def build() -> Classifier:
        return opened(model())

    given = isinstance(model, nn.Module)
    first = opened(copy.deepcopy(model)) if given else build()
    subject = Subject(first.eval(), None if given else build, trains=not isinstance(first, Outside))
    results = [check.run(subject) for check in (CHECKS if checks is None else checks)]
    failed = [result for result in results if result.status == "fail"]
    if failed and raises:
        more = f" (and {len(failed) - 1} more checks failed)" if failed[1:] else ""
        raise ModelError(
            f"not so: {failed[0].check}: {failed[0].what}{more}",
            where=type(first if not isinstance(first, Outside) else first.network).__name__,
            remedy=failed[0].remedy,
        )
    return results


@_check(
    "logits are finite, one for each class and image, for one image and for several",
    "return a tensor (B, K); resize and normalise inside the model",
    needed=True,
)
def _logits(subject: Subject) -> None:
    for n in (IMAGES, 1):
        found = _decided(subject.model, subject.images[:n])
        if found.shape != (n, subject.model.classes):
            raise Failed(f"{n} images give {tuple(found.shape)}, not {(n, subject.model.classes)}")
        if not found.is_floating_point() or not found.isfinite().all():
            raise Failed("some are no finite numbers")


@_check(
    "repeated decisions and features have their shapes",
    "return (n, B, K) from repeated_logits and (B, F) from features",
)
def _shapes(subject: Subject) -> None:
    model, images = subject.model, subject.images
    found = tuple(model.repeated_logits(images, 3, _seeded()).shape)
    if found != (3, IMAGES, model.classes):
        raise Failed(f"3 decisions have the shape {found}")
    found = tuple(model.features(images).shape)
    if len(found) != 2 or found[0] != IMAGES:
        raise Failed(f"features have the shape {found}")


@_check(
    "a decision is random exactly if the model says so",
    "set `stochastic`, and draw from the generator that is passed in",
    needed=True,
)
def _randomness(subject: Subject) -> None:
    model, images = subject.model, subject.images
    first, second = (_decided(model, images, seed) for seed in (1, 2))
    if torch.equal(first, second) == model.stochastic:
        differs = "equals" if model.stochastic else "differs from"
        raise Failed(f"stochastic is {model.stochastic}, but one decision {differs} the next")
    if not torch.equal(first, _decided(model, images, 1)):
        raise Failed("the same generator gives other logits the second time")
    repeated = model.repeated_logits(images, 2, _seeded(1))
    if torch.equal(repeated[0], repeated[1]) == model.stochastic:
        raise Failed("repeated_logits does not draw each decision independently")


@_check(
    "no decision touches the global random state",
    "draw from the generator that is passed in",
)
def _global_state(subject: Subject) -> None:
    before = drawn_state("cpu", _seeded())
    _decided(subject.model, subject.images)
    if subject.trains:
        subject.model.training_loss(subject.images, subject.labels, _seeded())
    if drawn_state("cpu", _seeded()) != before:
        raise Failed("a global generator of torch, NumPy or Python is in another state")


@_check(
    "images stay as they are",
    "work on a copy: images.clone()",
    needed=True,
)
def _unchanged_images(subject: Subject) -> None:
    images = subject.images.clone()
    _decided(subject.model, images)
    if not torch.equal(images, subject.images):
        raise Failed("logits writes into the images that it is given")


@_check(
    "a decision changes neither weights nor buffers",
    "do not adapt to the images, or adapt a copy",
)
def _unchanged_weights(subject: Subject) -> None:
    model = copy.deepcopy(subject.model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    _decided(model, subject.images)
    changed = [name for name, value in model.state_dict().items() if not _same(value, before[name])]
    if changed:
        raise Failed(f"'{changed[0]}' is another one afterwards")


@_check(
    "training mode changes no decision of the model under attack",
    "let eval() reach all parts; functional.dropout needs training=self.training",
    needed=True,
)
def _mode(subject: Subject) -> None:
    found = []
    for mode in (True, False):
        victim = copy.deepcopy(subject.model).train(mode).victim()
        found.append(victim.logits(subject.images, _seeded()))
    if not torch.allclose(*found, rtol=1e-4, atol=1e-5):
        raise Failed("logits differ between a model that was in training mode and one that was not")


@_check(
    "an image's logits do not depend on the images beside it",
    "let the model treat each image alone, without statistics of the batch",
)
def _batch(subject: Subject) -> None:
    if subject.model.stochastic:
        raise Skipped("its decisions are random")
    together = _decided(subject.model, subject.images)
    # What other orders of summation change is smaller.
    allowed = TOLERANCE * together.std().clamp_min(1e-12)
    if depends_on_neighbours(
        lambda images: _decided(subject.model, images),
        subject.images,
        together,
        lambda first, second: bool((first - second).abs().amax() <= allowed),
        searches=subject.searches,
    ):
        raise Failed("beside other images, some images have other logits")


@_check(
    "the model returns logits, not probabilities",
    "leave the softmax out, or say output: probabilities in the catalogue",
)
def _output(subject: Subject) -> None:
    if is_probabilities(_decided(subject.model, subject.images)):
        raise Failed("the numbers of each image lie in [0, 1] and sum to 1")


@_check(
    GRADIENT,
    "give the model a view that is differentiable (assay.attacks.views.bpda), or say "
    "no_gradient: WHY in its entry, and attack it with 'square'",
    needed=True,
)
def _some_gradient(subject: Subject) -> None:
    gradients = (_gradient(subject, view) for view in subject.model.views().values())
    if not any(found is not None and bool((found != 0).any()) for found in gradients):
        raise Failed("the logits' gradient is missing or zero")


@_check(
    "every view leads a gradient to every image",
    "give the model views that are differentiable (assay.attacks.views.bpda)",
)
def _gradients(subject: Subject) -> None:
    for name, view in subject.model.views().items():
        gradient = _gradient(subject, view)
        if gradient is None or not gradient.isfinite().all():
            raise Failed(f"the gradient of view '{name}' is missing or not finite")
        if not (gradient.flatten(1).abs().amax(1) > 0).all():
            raise Failed(f"the gradient of view '{name}' is zero")


@_check(
    "a step against a view's gradient lowers the true class in the decision",
    "give the model a view whose gradient is that of the decision, or near it",
)
def _steps(subject: Subject) -> None:
    model, images = subject.model, subject.images
    n = REPEATS_OF_A_SEARCH if subject.searches else REPEATS
    n = n if model.stochastic else 1
    truth = _mean_confidence(model, images, n, 3).argmax(-1)
    before = _mean_confidence(model, images, n, 4).gather(1, truth[:, None]).mean()
    for name, view in model.views().items():
        attacked = images.clone()
        for step in range(STEPS):
            leaf = attacked.clone().requires_grad_()
            loss = functional.cross_entropy(view.logits(leaf, _seeded(step)), truth)
            (gradient,) = torch.autograd.grad(loss, leaf)
            attacked = (attacked + STEP * gradient.sign()).clamp(0, 1)
        after = _mean_confidence(model, attacked, n, 4).gather(1, truth[:, None]).mean()
        if not after < before:
            raise Failed(
                f"view '{name}': mean confidence {before:.4f} before, {after:.4f} after it"
            )


@_check(
    "the gradient of one view at least agrees with finite differences",
    "give the model a view whose gradient is that of the decision, or near it",
)
def _differences(subject: Subject) -> None:
    if subject.searches:
        raise Skipped("it searches at test time; the steps above are the check")
    inspection = inspect_victim(subject.model.victim(), subject.images)
    found = [finding for finding in inspection.findings() if finding.check == "gradient"]
    if found:
        raise Failed(found[0].what)


@_check(
    "an attack leaves the model as it is",
    "keep no tensor of a graph in the model",
)
def _frozen_copy(subject: Subject) -> None:
    model = copy.deepcopy(subject.model).train()
    victim, mode = model.victim(), model.training
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for view in victim.views.values():
        victim.gradient(view, subject.images, subject.labels, _loss, _seeded())
    if any(item.grad is not None for item in model.parameters()):
        raise Failed("a parameter has a gradient afterwards")
    if model.training != mode or not all(
        _same(value, before[name]) for name, value in model.state_dict().items()
    ):
        raise Failed("its weights or its mode are others afterwards")


@_check(
    "training losses come per image",
    "return one value for each image from training_loss and validation_loss",
    needed=True,
)
def _losses(subject: Subject) -> None:
    if not subject.trains:
        raise Skipped("assay does not train it")
    for function in (subject.model.training_loss, subject.model.validation_loss):
        parts = function(subject.images, subject.labels, _seeded())
        wrong = [name for name, value in parts.items() if len(value) != IMAGES]
        if wrong:
            raise Failed(f"'{wrong[0]}' of {function.__name__} is not one value for each image")
        if not parts["total"].isfinite().all():
            raise Failed(f"'total' of {function.__name__} is not finite")


@_check(
    "the weights are all that a model built again needs",
    "register what decides as a parameter or a buffer, so that it is saved with the weights",
    needed=True,
)
def _round_trip(subject: Subject) -> None:
    if subject.build is None:
        raise Skipped("it cannot be built again")
    other = subject.build().eval()
    other.load_state_dict(subject.model.state_dict())
    other.awaits = None
    found = [_decided(model, subject.images) for model in (subject.model, other)]
    if not torch.allclose(*found, rtol=1e-4, atol=1e-5):
        raise Failed("with the same weights it gives other logits")


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits, labels, reduction="none")


def _gradient(subject: Subject, view: View) -> Tensor | None:
    """That of the cross-entropy in the images, (B, C, H, W); None if the view cuts the graph."""
    leaf = subject.images.clone().requires_grad_()
    loss = functional.cross_entropy(view.logits(leaf, _seeded()), subject.labels)
    if not loss.requires_grad:
        return None
    return torch.autograd.grad(loss, leaf, allow_unused=True)[0]


def _decided(model: Classifier, images: Tensor, seed: int = 0) -> Tensor:
    with torch.no_grad():
        return model.logits(images, _seeded(seed))


def _mean_confidence(model: Classifier, images: Tensor, n: int, seed: int) -> Tensor:
    """(B, K) class probabilities, the mean of n decisions."""
    with torch.no_grad():
        return model.repeated_logits(images, n, _seeded(seed)).softmax(-1).mean(0)


def _same(first: Tensor, second: Tensor) -> bool:
    """Whether tensors are equal; NaN equals NaN."""
    both_nan = (first != first) & (second != second)
    return first.shape == second.shape and bool(((first == second) | both_nan).all())


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
