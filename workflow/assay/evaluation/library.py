"""assay without a workflow: any torch module in, outcome rows out."""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from assay.attacks.arguments import usable_input
from assay.attacks.attack import Attack
from assay.attacks.clean import Clean
from assay.attacks.decision import Decision, ModuleDecision, as_decision
from assay.attacks.prediction import Prediction, evaluate_images
from assay.attacks.result import Perturbed
from assay.attacks.routes import WORST, attack_routes, check_routes
from assay.attacks.torch_state import all_seeded, own_state
from assay.attacks.victim import Victim, View
from assay.evaluation.findings import Finding, Inspection, audit
from assay.evaluation.inspection import (
    IMAGES,
    inspect_victim,
    is_probabilities,
    network_behind,
    one_line,
)
from assay.evaluation.library_arguments import (
    Epsilon,
    usable_arrays,
    usable_budgets,
    usable_shape,
    wrong_argument,
)
from assay.evaluation.outcome_rows import outcome_rows
from assay.foundation.errors import AssayError, AttackError
from assay.foundation.progress import progress
from assay.foundation.seeds import seed_for
from assay.models.base import Classifier
from assay.threat.ball import usable_radius

# Shares of zero gradients on images that no attack fools, as in the check D08.
_ZERO_FLAG, _ZERO_FAIL = 0.01, 0.5
# Unperturbed images from which on an accuracy at chance is reported.
_ENOUGH = 10
# Images of which no pixel is brighter are not in [0, 1]: 5 of 255.
_DARK = 0.02


def evaluate(
    model: nn.Module | Victim | Decision,
    images: Tensor | np.ndarray,
    labels: Tensor | np.ndarray | Sequence[int],
    attacks: Mapping[str, Attack],
    epsilons: Epsilon | Sequence[Epsilon] | Mapping[str, Epsilon | Sequence[Epsilon]],
    *,
    name: str = "model",
    chunk: int = 256,
    repeats: int = 20,
    seed: int = 0,
    routes: str = WORST,
) -> pd.DataFrame:
    """Measures a model, then attacks it with several attacks, with a progress bar.

    Before any attack the model is inspected on a few images: whether a gradient reaches them and
    agrees with finite differences, whether the model is random, returns logits, and treats each
    image alone. A random module is evaluated as such; the input of a final softmax is attacked
    instead of its output. What a reader of the numbers should know is printed, a line each, and
    returned in ``attrs["audit"]``.

    Args:
        model: a module in evaluation mode, images (B, C, H, W) in [0, 1] to logits (B, K), with
            preprocessing inside; a function that does the same; or a `Victim`, with views for a
            defence that has no useful gradient of its own.
        images: (N, C, H, W) float in [0, 1]; they stay as they are.
        labels: (N,) classes.
        attacks: by the name that the rows will have.
        epsilons: budgets for all attacks, or by attack, in the unit of the attack's norm; a number
            or a text such as ``"8/255"``.
        name: what the rows call the model.
        chunk: images that are attacked together.
        repeats: repeated evaluations of a randomised model.
        seed: of all randomness, torch's, NumPy's and Python's global generators included; the rows
            depend on it and on `chunk`, not on `attacks`' order. The global generators are given
            back as they were.
        routes: ``worst``: a view is searched on the images on which those before it failed;
            ``each``: every view is searched on all images, and the rows of each view (``route``)
            follow those of the worst case, whose ``route`` is empty.

    Returns:
        One row per attack, epsilon and image, and with ``each`` per route, in the columns of
        `results/README.md`; the decisions on the unperturbed images are the attack ``clean``.
        ``attrs["audit"]`` is a dict with ``verdict`` (sound, suspect, broken), ``findings`` (dicts
        with check, status, what and remedy), ``stochastic``, ``passes`` (image passes of the
        inspection) and its measurements.

    Raises:
        AttackError: an argument is unusable, or contradicts what was measured; the message names
            it.

    Example:
        >>> from assay.attacks.fgsm import FGSM
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
        >>> rows = evaluate(
        ...     net,
        ...     torch.rand(3, 1, 2, 2),
        ...     torch.tensor([0, 1, 0]),
        ...     {"fgsm": FGSM()},
        ...     ["8/255", 0.3],
        ... )
        >>> len(rows), list(rows.attack.unique()), rows.attrs["audit"]["verdict"]
        (9, ['clean', 'fgsm'], 'sound')
    """
    budgets = usable_budgets(attacks, epsilons)
    findings = []
    if budgets.pop("clean", None) and not isinstance(attacks["clean"], Clean):
        findings.append(_RESERVED)
    attacks = {name: attack for name, attack in attacks.items() if name in budgets}
    for what, count in (("chunk", chunk), ("repeats", repeats)):
        if not isinstance(count, int | np.integer) or count < 1:
            raise wrong_argument(what, f"{count!r} is not a whole number above 0")
    check_routes(routes)
    with own_state():
        pixels, truth = usable_arrays(images, labels)
        victim, inspection, changed = _opened(model, pixels, seed)
        usable_input(victim, pixels, truth, [0.0], repeats)
        for attack, radii in budgets.items():
            usable_radius(
                attacks[attack].norm, radii, victim.shape, f"argument 'epsilons' ({attack})"
            )
        outcomes = _attacked(
            victim, pixels, truth, attacks, budgets, name, int(chunk), int(repeats), seed, routes
        )
    findings += [
        *changed,
        *inspection.findings(),
        *_after(outcomes[outcomes.route == ""], attacks, victim, float(pixels.max())),
    ]
    for finding in findings:
        sys.stderr.write(f"{name}: {finding.status}: {finding}\n")
    outcomes.attrs["audit"] = audit(inspection, findings)
    return outcomes


def _attacked(
    victim: Victim,
    images: Tensor,
    labels: Tensor,
    attacks: Mapping[str, Attack],
    budgets: Mapping[str, Sequence[float]],
    name: str,
    chunk: int,
    repeats: int,
    seed: int,
    routes: str,
) -> pd.DataFrame:
    work = {"clean": (Clean(), [0.0]), **{a: (attacks[a], budgets[a]) for a in attacks}}
    frames = []
    with progress(total=len(work) * len(images), desc=name, unit="image") as bar:
        for start in range(0, len(images), chunk):
            piece = slice(start, start + chunk)
            pixels, truth = usable_input(victim, images[piece], labels[piece], [0.0], repeats)
            with _randomness(victim, seed, "decision", start) as generator:
                clean = evaluate_images(victim, pixels, truth, generator, repeats=repeats)
            for attack_name, (attack, radii) in work.items():
                bar.set_postfix_str(attack_name)
                run = partial(
                    _run, attack, attack_name, radii, pixels, truth, clean, start, repeats, seed
                )
                found = attack_routes(attack, victim, truth, routes, repeats, run)
                names = {
                    "dataset": "images",
                    "split": "given_0",
                    "model": name,
                    "suite": "library",
                    "attack": attack_name,
                    "norm": attack.norm,
                }
                rows = np.arange(start, start + len(pixels))
                for route, result in found.items():
                    named = {**names, "route": route}
                    frames.append(outcome_rows(result, rows, truth.cpu().numpy(), named))
                bar.update(len(pixels))
    outcomes = pd.concat(frames, ignore_index=True)
    order = {
        "attack": {attack: number for number, attack in enumerate(work)},
        "route": {route: number for number, route in enumerate(["", *victim.views, "decision"])},
    }
    return outcomes.sort_values(
        ["attack", "route", "epsilon", "sample"],
        key=lambda column: column.map(order[column.name]) if column.name in order else column,
        ignore_index=True,
    )


def _run(
    attack: Attack,
    name: str,
    radii: Sequence[float],
    images: Tensor,
    labels: Tensor,
    clean: Prediction,
    start: int,
    repeats: int,
    seed: int,
    victim: Victim,
    route: str,
) -> Perturbed:
    """One attack on one chunk, with the same randomness on every route."""
    with _randomness(victim, seed, name, start) as generator:
        return attack(victim, images, labels, radii, generator, repeats=repeats, clean=clean)


def _opened(model: Any, images: Tensor, seed: int) -> tuple[Victim, Inspection, list[Finding]]:
    """The victim that a model is, what was measured of it, and what was changed for it."""
    few = images[torch.linspace(0, len(images) - 1, IMAGES).round().long()]
    if isinstance(model, Classifier):
        model = model.victim(images.device)
    if isinstance(model, Victim):
        usable_input(model, few, torch.zeros(len(few), dtype=torch.int64), [0.0], 1)
        return model, inspect_victim(model, few.to(model.device), seed=seed), []
    decision, classes, findings = _measured_decision(model, images, seed)
    device = getattr(decision, "device", None) or images.device
    options: dict[str, Any] = {
        "classes": classes,
        "shape": tuple(images.shape[1:]),
        "device": device,
    }
    victim = Victim(logits=decision, **options)
    inspection = inspect_victim(victim, few.to(device), seed=seed, declared=False)
    if inspection.stochastic:
        victim = Victim(logits=decision, stochastic=True, **options)
    (gradient,) = inspection.gradients.values()
    if gradient.is_right or gradient.flat > 0.5:
        return victim, inspection, findings
    views = dict(victim.views)
    around = network_behind(victim, few.to(device), seed=seed)
    if gradient.failed:  # attacks get a gradient of zero then
        views["model"] = View(lambda images, generator: decision(images.detach(), generator))
    if around is not None:
        findings.append(_AROUND)
        views["bpda"] = around
        if gradient.failed or gradient.zero == 1.0:
            del views["model"]
    victim = Victim(logits=decision, stochastic=inspection.stochastic, views=views, **options)
    if around is not None:
        inspection = inspect_victim(victim, few.to(device), seed=seed, declared=False)
    return victim, inspection, findings


def _measured_decision(
    model: Any, images: Tensor, seed: int
) -> tuple[Decision, int, list[Finding]]:
    """A module or function as a decision that does what the module itself does; its classes K."""
    given = model
    if isinstance(model, nn.Module):
        # Numbers that the module draws from a generator of its own restart with each call.
        given = _structure_of(model)
    decision = as_decision(given, "argument 'model'")
    device = getattr(decision, "device", None) or images.device
    sample = images[:16].to(device)

    def predicted(function: Callable[[Tensor, torch.Generator], Any]) -> Any:
        with all_seeded(seed, device) as generator, torch.no_grad():
            return function(sample.clone(), generator)

    findings, changes = [], False
    failed: Exception | None = None
    logits = own = None
    if isinstance(decision, ModuleDecision):
        with suppress(Exception):  # what cannot be copied, or fails here, is checked below
            own, changes = predicted(decision.itself)
    try:
        logits = predicted(decision)
    except AssayError:
        raise
    except Exception as error:
        failed = error
    if own is not None and (changes or not _alike(own, logits)):
        assert isinstance(decision, ModuleDecision)
        decision, logits = dataclasses.replace(decision, device=device, episodic=True), own
        findings += [_EPISODIC] if changes else []
    if logits is None:
        assert failed is not None
        raise AttackError(
            f"the model fails on images of shape {tuple(sample.shape)} ({one_line(failed)})",
            where="argument 'model'",
            remedy="it gets float images (B, C, H, W) in [0, 1]; resize and normalise inside it",
        ) from failed
    classes = usable_shape(logits, len(sample))
    probabilities = logits.is_floating_point() and is_probabilities(logits)
    if probabilities and isinstance(decision, ModuleDecision):
        decision = dataclasses.replace(decision, softmax=True)
        findings.append(_SOFTMAX)
    return decision, classes, findings


_EPISODIC = Finding(
    "weights", "note",
    "the model changes its own weights or buffers while it predicts",
    "each batch begins with the weights that were passed in",
)  # fmt: skip
_AROUND = Finding(
    "gradient", "note",
    "the model's own gradient is of no use; attacks differentiate around it, through the network "
    "that it calls in the end (BPDA)",
    "pass a Victim with views of your own for a stronger attack",
)  # fmt: skip
_RESERVED = Finding(
    "attacks", "suspect",
    "the attack called 'clean' was not run: this name means the unperturbed images",
    "rename it",
)  # fmt: skip
_SOFTMAX = Finding(
    "output", "note",
    "the model returns probabilities; the logits before its softmax, or their logarithm, are used",
    "return logits to be sure which numbers are attacked",
)  # fmt: skip


def _structure_of(module: nn.Module) -> nn.Module:
    """A copy of a module that shares its weights; the module where it cannot be copied."""
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    try:
        return copy.deepcopy(module, shared)
    except Exception:  # any attribute may refuse: a lock, a file, a compiled part
        return module


def _alike(own: Tensor, frozen: Tensor | None) -> bool:
    return (
        frozen is not None
        and own.shape == frozen.shape
        and torch.allclose(own, frozen, rtol=1e-3, atol=1e-4, equal_nan=True)
    )


@contextmanager
def _randomness(victim: Victim, seed: int, what: str, start: int) -> Iterator[torch.Generator]:
    """A generator for one piece of work, the global ones seeded alike."""
    number = seed_for("library", seed, what, start)
    with all_seeded(number, victim.device) as generator:
        yield generator


def _after(
    outcomes: pd.DataFrame, attacks: Mapping[str, Attack], victim: Victim, brightest: float
) -> Iterator[Finding]:
    """Findings in the rows that cast doubt on their numbers."""
    clean = outcomes[outcomes.attack == "clean"]
    right, n = int((~clean.misclassified).sum()), len(clean)
    if n >= _ENOUGH and right * victim.classes <= n:
        yield Finding(
            "accuracy", "suspect",
            f"{right} of {n} unperturbed images are right, no more than by chance",
            "check the labels' order, the images' range and the normalisation inside the model",
        )  # fmt: skip
    elif n >= _ENOUGH and clean.clean_prediction.nunique() == 1 < clean.label.nunique():
        yield Finding(
            "accuracy", "suspect",
            f"all {n} unperturbed images are predicted as class {clean.clean_prediction.iloc[0]}",
            "check the images' range and the normalisation inside the model",
        )  # fmt: skip
    if brightest < _DARK:
        yield Finding(
            "range", "suspect", f"no pixel of any image is above {brightest:.3g}",
            "check whether the images were divided by 255 twice",
        )  # fmt: skip
    searched = [name for name, attack in attacks.items() if attack.access == "white_box"]
    left = outcomes[
        outcomes.attack.isin(searched) & ~outcomes.misclassified & (outcomes.backwards > 0)
    ]
    zeros = left.zero_gradients.sum() / left.backwards.sum() if len(left) else 0.0
    if zeros > _ZERO_FLAG:
        yield Finding(
            "zero gradients", "broken" if zeros > _ZERO_FAIL else "suspect",
            f"{zeros:.0%} of the gradients were zero on images that kept their class",
            "attack it with 'square' too, and with bpda views where a part has no gradient",
        )  # fmt: skip
    single = all(view.eot_samples == 1 for view in victim.views.values())
    eot_samples = [attacks[name].most_eot_samples for name in searched]
    if victim.stochastic and single and eot_samples and max(eot_samples) == 1:
        yield Finding(
            "expectation", "suspect",
            "every attack follows the gradient of a single draw of a random model",
            "attack it with eot_samples=20 too, e.g. attack_named('pgd_linf', eot_samples=20)",
        )  # fmt: skip
