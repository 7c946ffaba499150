"""assay without a workflow: any torch module in, outcome rows out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from assay.attacks.base import Attack, judge, usable_input
from assay.attacks.clean import Clean
from assay.attacks.victim import Victim
from assay.evaluation.suite import outcome_rows
from assay.foundation.errors import AttackError
from assay.foundation.progress import progress
from assay.foundation.seeds import seed_for


def evaluate(
    model: nn.Module | Victim,
    images: Tensor,
    labels: Tensor,
    attacks: Mapping[str, Attack],
    epsilons: Sequence[float] | Mapping[str, Sequence[float]],
    *,
    name: str = "model",
    chunk: int = 256,
    replays: int = 20,
    seed: int = 0,
) -> pd.DataFrame:
    """Attacks a model with several attacks, with a progress bar.

    Args:
        model: a module in evaluation mode, images (B, C, H, W) in [0, 1] to logits (B, K), with
            preprocessing inside; or a `Victim`, which a randomised or test-time defence needs.
        images: (N, C, H, W) float in [0, 1].
        labels: (N,) classes.
        attacks: by the name that the rows will have.
        epsilons: budgets for all attacks, or by attack, in the unit of the attack's norm.
        name: what the rows call the model.
        chunk: images that are attacked together.
        replays: independent decisions that judge a randomised model.
        seed: of all randomness; the rows depend on it and on `chunk`, not on `attacks`' order.

    Returns:
        One row per attack, epsilon and image, in the columns of `results/README.md`; the decisions
        on the unperturbed images are the attack ``clean``.

    Raises:
        AttackError: an argument is unusable; the message names it.

    Example:
        >>> from assay.attacks.fgsm import FGSM
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
        >>> rows = evaluate(
        ...     net,
        ...     torch.rand(3, 1, 2, 2),
        ...     torch.tensor([0, 1, 0]),
        ...     {"fgsm": FGSM()},
        ...     [0.1, 0.3],
        ... )
        >>> len(rows), list(rows.attack.unique())
        (9, ['clean', 'fgsm'])
    """
    victim = model if isinstance(model, Victim) else _victim(model, images)
    budgets = {a: epsilons[a] if isinstance(epsilons, Mapping) else epsilons for a in attacks}
    work = {"clean": (Clean(), [0.0]), **{a: (attacks[a], budgets[a]) for a in attacks}}
    frames = []

    def generator(what: str, start: int) -> torch.Generator:
        drawn = torch.Generator(device=victim.device)
        return drawn.manual_seed(seed_for("library", seed, what, start))

    with progress(total=len(work) * len(images), desc=name, unit="image") as bar:
        for start in range(0, len(images), chunk):
            piece = slice(start, start + chunk)
            pixels, truth = usable_input(victim, images[piece], labels[piece], [0.0], replays)
            clean = judge(victim, pixels, truth, generator("decision", start), replays=replays)
            for attack_name, (attack, radii) in work.items():
                bar.set_postfix_str(attack_name)
                result = attack(
                    victim,
                    pixels,
                    truth,
                    radii,
                    generator(attack_name, start),
                    replays=replays,
                    clean=clean,
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


def _victim(module: nn.Module, images: Tensor) -> Victim:
    """The victim that a deterministic module is, on its own device."""
    if images.ndim != 4 or not len(images):
        raise AttackError(
            f"shape {tuple(images.shape)} is not (N, C, H, W)", where="argument 'images'"
        )
    device = next((tensor.device for tensor in module.parameters()), torch.device("cpu"))
    with torch.inference_mode():
        said = module(images[:1].to(device, torch.float32))
    if said.ndim != 2:
        raise AttackError(
            f"the model returned {tuple(said.shape)} for one image, not (1, K)",
            where="argument 'model'",
            remedy="return logits of shape (B, K)",
        )
    return Victim.from_module(
        module, classes=said.shape[1], shape=tuple(images.shape[1:]), device=device
    )
