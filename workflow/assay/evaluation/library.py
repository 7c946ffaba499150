"""assay without a workflow: any torch module in, outcome rows out."""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from assay.attacks.arguments import usable_input
from assay.attacks.attack import Attack
from assay.attacks.clean import Clean
from assay.attacks.decision import Decision, ModuleDecision, as_decision
from assay.attacks.prediction import evaluate_images
from assay.attacks.torch_state import own_state, seeded
from assay.attacks.victim import Victim, View
from assay.evaluation.findings import Finding, Inspection, audit
from assay.evaluation.inspection import (
    IMAGES,
    inspect_victim,
    is_probabilities,
    network_behind,
    one_line,
)
from assay.evaluation.outcome_rows import outcome_rows
from assay.foundation.errors import AssayError, AttackError
from assay.foundation.numbers import number
from assay.foundation.progress import progress
from assay.foundation.seeds import seed_for
from assay.models.base import Classifier
from assay.threat.ball import usable_radius

Epsilon = float | str
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

    Returns:
        One row per attack, epsilon and image, in the columns of `results/README.md`; the decisions
        on the unperturbed images are the attack ``clean``. ``attrs["audit"]`` is a dict with
        ``verdict`` (sound, suspect, broken), ``findings`` (dicts with check, status, what and
        remedy), ``stochastic``, ``passes`` (image passes of the inspection) and its measurements.

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
    budgets = _usable_budgets(attacks, epsilons)
    findings = []
    if budgets.pop("clean", None) and not isinstance(attacks["clean"], Clean):
        findings.append(_RESERVED)
    attacks = {name: attack for name, attack in attacks.items() if name in budgets}
    for what, count in (("chunk", chunk), ("repeats", repeats)):
        if not isinstance(count, int | np.integer) or count < 1:
            raise _wrong(what, f"{count!r} is not a whole number above 0")
    with own_state():
        pixels, truth = _usable_arrays(images, labels)
        victim, inspection, changed = _opened(model, pixels, seed)
        usable_input(victim, pixels, truth, [0.0], repeats)
        for attack, radii in budgets.items():
            usable_radius(
                attacks[attack].norm, radii, victim.shape, f"argument 'epsilons' ({attack})"
            )
        outcomes = _attacked(
            victim, pixels, truth, attacks, budgets, name, int(chunk), int(repeats), seed
        )
    findings += [
        *changed,
        *inspection.findings(),
        *_after(outcomes, attacks, victim, float(pixels.max())),
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
                with _randomness(victim, seed, attack_name, start) as generator:
                    result = attack(
                        victim, pixels, truth, radii, generator, repeats=repeats, clean=clean
                    )
                names = {
                    "dataset": "images",
                    "split": "given_0",
                    "model": name,
                    "suite": "library",
                    "attack": attack_name,
                    "norm": attack.norm,
                }
                rows = np.arange(start, start + len(pixels))
                frames.append(outcome_rows(result, rows, truth.cpu().numpy(), names))
                bar.update(len(pixels))
    outcomes = pd.concat(frames, ignore_index=True)
    order = {attack: number for number, attack in enumerate(work)}
    return outcomes.sort_values(
        ["attack", "epsilon", "sample"],
        key=lambda column: column.map(order) if column.name == "attack" else column,
        ignore_index=True,
    )


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
    options = {"classes": classes, "shape": tuple(images.shape[1:]), "device": device}
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

    def predicted(function: Decision) -> Tensor:
        with seeded(seed, device), torch.no_grad():
            return function(sample.clone(), torch.Generator(device=device).manual_seed(seed))

    findings, failed, logits, own = [], None, None, None
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
        decision, logits = dataclasses.replace(decision, device=device, episodic=True), own
        findings += [_EPISODIC] if changes else []
    if logits is None:
        raise AttackError(
            f"the model fails on images of shape {tuple(sample.shape)} ({one_line(failed)})",
            where="argument 'model'",
            remedy="it gets float images (B, C, H, W) in [0, 1]; resize and normalise inside it",
        ) from failed
    classes = _usable_shape(logits, len(sample))
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
    with seeded(number, victim.device):
        yield torch.Generator(device=victim.device).manual_seed(number)


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
    eot_samples = [attacks[name].eot_samples for name in searched]
    if victim.stochastic and single and eot_samples and max(eot_samples) == 1:
        yield Finding(
            "expectation", "suspect",
            "every attack follows the gradient of a single draw of a random model",
            "attack it with eot_samples=20 too, e.g. attack_named('pgd_linf', eot_samples=20)",
        )  # fmt: skip


def _usable_arrays(images: Any, labels: Any) -> tuple[Tensor, Tensor]:
    """Copies of images (N, C, H, W) and labels (N,) as tensors, or an error that names which."""
    if isinstance(images, np.ndarray):
        if images.dtype.kind not in "fiub":
            raise _wrong("images", f"an array of {images.dtype} holds no images")
        images = torch.from_numpy(np.ascontiguousarray(images))
    if not isinstance(images, Tensor):
        raise _wrong(
            "images", f"a {type(images).__name__} is no tensor",
            "pass a float tensor (N, C, H, W) in [0, 1], e.g. torch.stack(images)",
        )  # fmt: skip
    if images.ndim != 4 or not len(images):
        remedy = "add a dimension: images[None]" if images.ndim == 3 else None
        raise _wrong("images", f"shape {tuple(images.shape)} is not (N, C, H, W)", remedy)
    if images.shape[1] > 4 and images.shape[3] <= 4:
        raise _wrong(
            "images", f"shape {tuple(images.shape)} has its channels last",
            "pass images.permute(0, 3, 1, 2)",
        )  # fmt: skip
    if not isinstance(labels, Tensor):
        try:
            labels = torch.as_tensor(np.asarray(labels))
        except (TypeError, ValueError) as error:
            raise _wrong(
                "labels", "they are no numbers", "pass one class 0, 1, ... each"
            ) from error
    if labels.ndim == 2 and len(labels) == len(images):
        single = labels.shape[1] == 1
        raise _wrong(
            "labels", f"shape {tuple(labels.shape)} is not one class per image",
            "pass labels.flatten()" if single else "pass labels.argmax(1) of one-hot rows",
        )  # fmt: skip
    if labels.shape != (len(images),):
        raise _wrong("labels", f"shape {tuple(labels.shape)} for {len(images)} images")
    return images.detach().clone(), labels.detach().clone()


def _usable_budgets(attacks: Any, epsilons: Any) -> dict[str, list[float]]:
    """The budgets of each attack as numbers, or an error that names the argument."""
    if not isinstance(attacks, Mapping) or not attacks:
        raise _wrong(
            "attacks", f"a {type(attacks).__name__} is no mapping from names to attacks",
            "pass for example {'pgd': PGD()}",
        )  # fmt: skip
    for name, attack in attacks.items():
        if not isinstance(attack, Attack):
            what = getattr(attack, "__name__", None) or repr(attack)
            remedy = f"pass {what}()" if isinstance(attack, type) else "see attack_named"
            raise _wrong("attacks", f"'{name}': {what} is no attack", remedy)
    if isinstance(epsilons, Mapping):
        for name in epsilons:
            if name not in attacks:
                raise _wrong(
                    "epsilons", f"there is no attack '{name}'", f"use {', '.join(attacks)}"
                )
        for name in attacks:
            if name not in epsilons:
                raise _wrong("epsilons", f"no budget is given for '{name}'", f"add '{name}': [...]")
    budgets = {}
    for name in attacks:
        given = epsilons[name] if isinstance(epsilons, Mapping) else epsilons
        several = isinstance(given, Sequence | np.ndarray | Tensor) and not isinstance(given, str)
        several = several and getattr(given, "ndim", 1) == 1
        budgets[name] = [
            number(value, "argument 'epsilons'", AttackError)
            for value in (given if several else [given])
        ]
        if not budgets[name]:
            raise _wrong("epsilons", "no budget is given")
        if min(budgets[name]) < 0:
            raise _wrong("epsilons", f"{min(budgets[name])} is not a budget", "use numbers >= 0")
    return budgets


def _usable_shape(predicted: Tensor, n: int) -> int:
    """K of logits (n, K), or an error that states what the model returned instead."""
    if predicted.ndim == 1 or predicted.shape == (n, 1):
        raise _wrong(
            "model", f"it returned one number per image, {tuple(predicted.shape)}",
            "return two logits, e.g. torch.stack([torch.zeros_like(z), z], dim=1)",
        )  # fmt: skip
    if predicted.ndim != 2 or len(predicted) != n or predicted.is_complex():
        raise _wrong(
            "model", f"it returned {predicted.dtype} {tuple(predicted.shape)} for {n} images",
            f"return logits ({n}, K)",
        )  # fmt: skip
    return predicted.shape[1]


def _wrong(argument: str, what: str, remedy: str | None = None) -> AttackError:
    return AttackError(what, where=f"argument '{argument}'", remedy=remedy)
