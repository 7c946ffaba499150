"""Measures a victim before any attack: is it as declared, and can its gradient be used?

A few images are evaluated together, again in another order, and alone; the gradient of every view
is compared with finite differences. This costs some tens of calls on small batches, about 300
image passes for a plain network, and separates a sound evaluation from one that overstates
robustness: no gradient, a wrong gradient, undeclared randomness, probabilities for logits, results
that depend on the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from assay.attacks.decision import ModuleDecision, logits_of
from assay.attacks.torch_state import all_seeded, drawn_state, own_state
from assay.attacks.victim import Victim, View
from assay.attacks.views import bpda, one_sample
from assay.evaluation.findings import COARSE, SHARE, GradientCheck, Inspection
from assay.foundation.errors import AttackError
from assay.foundation.seeds import seed_for

# Images that are evaluated together. A prediction that flips in 5 % of the cases differs between
# two evaluations in 9.5 %; of 64 images one at least does so in 99.8 % of the tries.
IMAGES = 64
# Images that are evaluated alone, images whose gradient is checked, random directions of each.
ALONE, CHECKED, DIRECTIONS = 8, 8, 2
# Half widths of the finite differences: one that follows a curve, one that spans a step.
STEPS = (1e-3, 1e-2)
# Two evaluations differ if any logit does by more than this share of the logits' deviation. What
# other orders of summation change stays below: 14 torchvision networks, DenseNet121 among them,
# with random weights in float32, count as independent of the batch.
TOLERANCE = 1e-3
# A derivative is right if it is off by at most half; it helps if the logits rise along its sign by
# a tenth of what it promises.
WRONG_BY, HELPS_BY = 0.5, 0.1


def inspect_victim(
    victim: Victim, images: Tensor, seed: int = 0, *, declared: bool = True
) -> Inspection:
    """Measures a victim on a few images.

    Args:
        victim: what will be attacked.
        images: (N, C, H, W) float in [0, 1], on the victim's device; at most `IMAGES` of them,
            evenly spaced, are used.
        seed: of the randomness that the victim is given, and of the directions.
        declared: whether the victim was declared stochastic or deterministic.

    Raises:
        AttackError: the logits are not finite, or the victim declares what the measurement
            contradicts: `stochastic`, independent `eot_samples`, a view's `deterministic`.

    Example:
        >>> victim = Victim.from_module(
        ...     torch.nn.Flatten().eval(), classes=4, shape=(1, 2, 2), device="cpu"
        ... )
        >>> found = inspect_victim(victim, torch.rand(8, 1, 2, 2))
        >>> found.stochastic, found.gradients["model"].right, found.findings()
        (False, 1.0, [])
    """
    places = torch.linspace(0, len(images) - 1, min(len(images), IMAGES), device=images.device)
    images = images[places.round().long()]
    with own_state():
        return _Inspector(victim, images, seed_for("inspection", seed), declared).result()


def network_behind(victim: Victim, images: Tensor, *, seed: int = 0) -> View | None:
    """The view that differentiates around a defence: BPDA to the network that it calls in the end.

    While the victim evaluates `images`, every torch module is watched, also one that only a closure
    knows. What was given images and made the very predictions of the victim is the network behind
    it. It is taken if the victim's own logits rise along its gradient's sign.

    Args:
        victim: whose own gradient is of no use.
        images: (N, C, H, W) float in [0, 1], on the victim's device.
        seed: as in :func:`inspect_victim`.

    Returns:
        The view, or None: there is no such network, or its gradient does not help.
    """
    seen: list[tuple[nn.Module, Tensor]] = []

    def watch(module: nn.Module, given: tuple, returned: Any) -> None:
        if given and isinstance(given[0], Tensor) and given[0].shape[1:] == images.shape[1:]:
            with suppress(AttackError):
                seen.append((module, logits_of(returned).detach()))

    few, found = images[: min(CHECKED, len(images))], None
    inspector = _Inspector(victim, images, seed_for("inspection", seed), False)
    with own_state():
        handle = register_module_forward_hook(watch)
        try:
            returned = inspector.evaluated(few, inspector.seed)
        finally:
            handle.remove()
        # The last one to return is the whole model; from there inwards.
        for module, own in seen[-2::-1]:
            if own.shape != returned.shape or not torch.equal(own.argmax(1), returned.argmax(1)):
                continue
            with suppress(AttackError):
                network = ModuleDecision(module, victim.device, softmax=is_probabilities(own))
                view = bpda(victim.decision, network)
                if inspector.gradient(view, victim.stochastic, True).helpful >= SHARE:
                    found = view
                    break
    return found


class _Inspector:
    def __init__(self, victim: Victim, images: Tensor, seed: int, declared: bool):
        self.victim, self.images, self.seed, self.declared = victim, images, seed, declared
        self.drew = False

    def result(self) -> Inspection:
        victim, before = self.victim, self.victim.forwards + self.victim.backwards
        with differentiating() as differentiated:
            together = self.evaluated(self.images, self.seed)
        if not together.isfinite().all():
            bad = int((~together.isfinite().all(dim=1)).sum())
            raise AttackError(
                f"the logits of {bad} of {len(together)} unperturbed images are not finite",
                where="victim",
                remedy="check the model's weights and its input range",
            )
        searches = differentiated.called
        again = self.evaluated(self.images.roll(1, 0), self.seed + 1).roll(-1, 0)
        flips = float((together.argmax(1) != again.argmax(1)).float().mean())
        random, repeatable, dependent = self.drew, True, False
        if not self.equal(together, again):
            repeatable = self.equal(together, self.evaluated(self.images, self.seed))
            if not repeatable or not self.equal(
                together, self.evaluated(self.images, self.seed + 1)
            ):
                random = True
            else:
                dependent = True
        if not random:
            deviation = _deviation(together)
            dependent = dependent or depends_on_neighbours(
                lambda images: self.evaluated(images, self.seed),
                self.images,
                together,
                lambda first, second: self.equal(first, second, deviation),
                searches=searches,
            )
        self.check_declarations(random, not self.equal(together, again))
        return Inspection(
            stochastic=random,
            flips=flips,
            repeatable=repeatable,
            batch_dependent=dependent,
            searches=searches,
            output=_output(together),
            precision=str(victim.logits_type).removeprefix("torch."),
            gradients={
                name: self.gradient(view, random, repeatable) for name, view in victim.views.items()
            },
            images=len(self.images),
            passes=victim.forwards + victim.backwards - before,
        )

    def equal(self, first: Tensor, second: Tensor, scale: Tensor | None = None) -> bool:
        """Whether logits (n, K) are equal but for rounding, measured by their deviation."""
        if scale is None:
            scale = _deviation(first)
        coarse = COARSE.get(str(self.victim.logits_type).removeprefix("torch."), 1.0)
        return bool((first - second).abs().amax() <= TOLERANCE * coarse * scale)

    def evaluated(self, images: Tensor, seed: int) -> Tensor:
        """The decision's logits, all generators seeded."""
        with self.seeded(seed) as generator:
            before = drawn_state(self.victim.device, generator)
            logits = self.victim.logits(images, generator)
            self.drew = self.drew or before != drawn_state(self.victim.device, generator)
        return logits

    def seeded(self, seed: int) -> AbstractContextManager[torch.Generator]:
        return all_seeded(seed, self.victim.device)

    def check_declarations(self, random: bool, differs: bool) -> None:
        """Raises AttackError where a declaration of the victim contradicts the measurement."""
        victim = self.victim
        if self.declared and differs and random and not victim.stochastic:
            raise AttackError(
                "it is declared deterministic, but two evaluations of the same images differ",
                where="victim 'stochastic'",
                remedy="pass stochastic=True, or make its randomness come from a fixed seed",
            )
        if self.declared and victim.stochastic and not random:
            raise AttackError(
                f"it is declared stochastic, but two evaluations of {len(self.images)} images are "
                "equal and no random number was drawn",
                where="victim 'stochastic'",
                remedy="leave stochastic out",
            )
        few = self.images[: min(4, len(self.images))]
        if victim.stochastic and differs:
            with self.seeded(self.seed) as generator:
                repeated = victim.repeated_logits(few, 4, generator)
            if all(self.equal(repeated[0], other) for other in repeated[1:]):
                raise AttackError(
                    "all samples of an image are equal, although its evaluations differ",
                    where="victim 'repeated_logits'",
                    remedy="draw each decision independently",
                )
        for name, view in victim.views.items() if self.declared else ():
            if view.deterministic and random and differs:
                found = []
                for seed in (self.seed, self.seed + 1):
                    with self.seeded(seed) as generator:
                        found.append(victim.forward(view, few, generator))
                if not self.equal(*found):
                    raise AttackError(
                        "it is declared deterministic, but two evaluations of it differ",
                        where=f"view '{name}'",
                        remedy="leave deterministic out",
                    )

    def gradient(self, view: View, random: bool, repeatable: bool) -> GradientCheck:
        """Derivatives of random mixtures of the logits against finite differences."""
        victim = self.victim
        view = one_sample(view)
        # Away from the bounds, where a clipped image would not follow a step.
        origin = 0.05 + 0.9 * self.images[: min(CHECKED, len(self.images))]
        n, device = len(origin), origin.device
        numbers = torch.Generator().manual_seed(self.seed)
        mix = torch.randn((n, victim.classes), generator=numbers).to(device)
        mix -= mix.mean(dim=1, keepdim=True)

        def mixed(logits: Tensor, rows: Tensor) -> Tensor:
            return (logits * mix[rows]).sum(dim=1)

        rows = torch.arange(n, device=device)
        try:
            with self.seeded(self.seed) as generator:
                _, logits, gradient = victim.gradient(view, origin, rows, mixed, generator)
        except AttackError:
            raise
        except Exception as error:
            return GradientCheck(failed=one_line(error), compared=False)
        signs = torch.randint(2, (DIRECTIONS + 1, *origin.shape), generator=numbers)
        ways = (2.0 * signs - 1).to(device)
        ways[-1] = torch.where(gradient == 0, ways[-1], gradient.sign())
        promised = (gradient * ways).flatten(2).double().sum(dim=2)
        points = torch.stack([sign * step * ways for step in STEPS for sign in (1, -1)])
        moved = (origin + points).flatten(0, 1)  # (4 * ways, n, ...)
        if random and repeatable:
            found = []  # the same random numbers for each batch of n
            for batch in moved:
                with self.seeded(self.seed) as generator:
                    found.append(mixed(victim.forward(view, batch, generator), rows))
            found = torch.stack(found)
        elif random:
            return GradientCheck(compared=False)
        else:
            with self.seeded(self.seed) as generator:
                returned = victim.forward(view, moved.flatten(0, 1), generator)
            found = mixed(returned, rows.repeat(len(moved))).view(len(moved), n)
        found = found.double().view(len(STEPS), 2, len(ways), n)
        steps = torch.tensor(STEPS, device=device, dtype=torch.double)[:, None, None]
        measured = (found[:, 0] - found[:, 1]) / (2 * steps)  # (steps, ways, n)
        assert logits is not None  # of a loss that is a function of them
        # What single precision rounds away.
        size = (logits * mix).abs().sum(dim=1).double()
        noise = 2e-7 * size.clamp_min(1e-30) / steps[:, 0]
        off, length = (measured - promised).norm(dim=1), measured.norm(dim=1)
        own = promised.norm(dim=0)
        still = (length <= noise).all(dim=0)
        flat = still & (own <= noise[0])
        right = (off <= WRONG_BY * torch.maximum(length, own) + noise).any(dim=0)
        zero = (own <= 1e-3 * length.amax(dim=0)) & ~flat
        right &= ~flat & ~zero
        helpful = (measured[-1, -1] >= HELPS_BY * promised[-1]) & (promised[-1] > 0)

        def share(which: Tensor) -> float:
            return round(float(which.float().mean()), 3)

        return GradientCheck(share(right), share(helpful), share(zero), share(flat))


def depends_on_neighbours(
    decide: Callable[[Tensor], Tensor],
    images: Tensor,
    together: Tensor,
    equal: Callable[[Tensor, Tensor], bool],
    *,
    searches: bool,
) -> bool:
    """Whether an image's logits depend on the images that are evaluated with it.

    Images are evaluated alone. A search at test time amplifies what another order of summation
    rounds, and that order changes with the size of the batch: where such a model's logits differ,
    images stay at their places in a batch of the same size, beside others.

    Args:
        decide: images (B, C, H, W) to logits (B, K), always with the same random numbers.
        images: (N, C, H, W) float in [0, 1].
        together: (N, K) logits of the images in one batch.
        equal: whether two tensors of logits are equal but for rounding.
        searches: whether the model differentiates while it predicts.

    Example:
        >>> images = torch.rand(4, 1, 2, 2)
        >>> mean = lambda x: x.flatten(1) - x.flatten(1).mean(0)
        >>> depends_on_neighbours(mean, images, mean(images), torch.allclose, searches=True)
        True
    """
    if len(images) == 1:
        return False
    rows = torch.linspace(0, len(images) - 1, min(ALONE, len(images))).round().long()
    alone = torch.cat([decide(images[row : row + 1]) for row in rows.tolist()])
    if equal(together[rows], alone):
        return False
    if not searches:
        return True
    rows = rows[::2]
    beside = images.roll(1, 0)
    beside[rows] = images[rows]
    return not equal(together[rows], decide(beside)[rows])


@contextmanager
def differentiating() -> Iterator[mock.Mock]:
    """Notices whether anybody runs a backward pass: all of torch's ways go through one function."""
    engine = torch.autograd._engine_run_backward
    with mock.patch.object(torch.autograd, "_engine_run_backward", wraps=engine) as watched:
        yield watched


def _deviation(logits: Tensor) -> Tensor:
    return (logits - logits.mean(dim=1, keepdim=True)).std().clamp_min(1e-12)


def _output(logits: Tensor) -> str:
    """What kind of numbers rows (n, K) are."""
    if is_probabilities(logits):
        return "decisions" if bool(((logits == 0) | (logits == 1)).all()) else "probabilities"
    total = logits.logsumexp(dim=1)
    if bool((logits <= 1e-6).all()) and bool((total.abs() < 1e-3).all()):
        return "log-probabilities"
    return "logits"


def is_probabilities(rows: Tensor) -> bool:
    """Whether the rows (n, K) lie in [0, 1] and sum to 1."""
    inside = bool(((rows >= 0) & (rows <= 1 + 1e-4)).all())
    return inside and bool(((rows.float().sum(dim=1) - 1).abs() < 5e-3).all())


def one_line(error: Exception) -> str:
    """An exception's type and the first line of its text, at most 160 characters of it."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:160]}" if text else type(error).__name__
