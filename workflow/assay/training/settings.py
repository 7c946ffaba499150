"""The settings of a training: defaults, checks, phases, and how former versions wrote them.

The plan and the analysis read settings with it, too; it imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.foundation.errors import TrainingError
from assay.foundation.sources import merged
from assay.foundation.suggestions import did_you_mean
from assay.training.torch_names import GROUPS

DEFAULTS: Mapping[str, Any] = {
    "objective": {"name": "standard"},
    "epochs": 15,
    "patience": None,
    "batch_size": 64,
    "optimizer": {"name": "Adam", "lr": 3e-3, "weight_decay": 0.0},
    "scheduler": {"name": "StepLR", "step_size": 10, "gamma": 0.1},
    "ema": None,
    "clip_norm": None,
    "mixed_precision": False,
    "augment": [],
    "adversary": None,
    "phases": [],
    "samples": None,
    "validation_samples": None,
}
# What holds for a whole training, whatever its phases say.
WHOLE = ("phases", "samples", "validation_samples")
# Parts that choose something by its name; the other keys are its keyword arguments.
NAMED = ("objective", "optimizer", "scheduler")
# Where the values of former keys are now.
FORMER: Mapping[str, tuple[str, str]] = {
    "learning_rate": ("optimizer", "lr"),
    "weight_decay": ("optimizer", "weight_decay"),
}


def over(base: Any, change: Any) -> Any:
    """Settings laid over others, key by key; a part with another name replaces the whole part.

    Example:
        >>> over({"optimizer": {"name": "Adam", "lr": 0.1}}, {"optimizer": {"lr": 0.2}})
        {'optimizer': {'name': 'Adam', 'lr': 0.2}}
        >>> over({"optimizer": {"name": "Adam", "lr": 0.1}}, {"optimizer": {"name": "SGD"}})
        {'optimizer': {'name': 'SGD'}}
    """
    if not (isinstance(base, Mapping) and isinstance(change, Mapping)):
        return merged(base, change)
    base = dict(base)
    for part in NAMED:
        below, above = base.get(part), change.get(part)
        both = isinstance(below, Mapping) and isinstance(above, Mapping)
        if both and above.get("name", below.get("name")) != below.get("name"):
            del base[part]
    return merged(base, change)


def of_group(optimizer: Mapping[str, Any], group: str) -> dict[str, Any]:
    """The settings of the optimiser of one group of parameters.

    Example:
        >>> of_group({"name": "SGD", "lr": 0.1, "groups": {"head": {"lr": 1.0}}}, "head")
        {'name': 'SGD', 'lr': 1.0}
    """
    common = {key: value for key, value in optimizer.items() if key != GROUPS}
    own = (optimizer.get(GROUPS) or {}).get(group, {})
    return over({"optimizer": common}, {"optimizer": own})["optimizer"]


def renewed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they are written now: former keys moved, an objective's name in a mapping.

    Example:
        >>> renewed({"objective": "elbo", "learning_rate": 0.1})
        {'objective': {'name': 'elbo'}, 'optimizer': {'lr': 0.1}}
    """
    found = {key: value for key, value in settings.items() if key not in FORMER}
    if isinstance(found.get("objective"), str):
        found["objective"] = {"name": found["objective"]}
    for former, (part, key) in FORMER.items():
        if former in settings:
            found[part] = {key: settings[former], **(found.get(part) or {})}
    if isinstance(found.get("phases"), list):
        found["phases"] = [
            renewed(phase) if isinstance(phase, Mapping) else phase for phase in found["phases"]
        ]
    return found


def kept(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a finished training, also of one that an earlier version has written."""
    found = renewed(settings)
    if "optimizer" in found:
        found["optimizer"] = {"name": "Adam", **found["optimizer"]}
    if found.get("scheduler"):
        found["scheduler"] = {"name": "StepLR", **found["scheduler"]}
    if found.get("adversary") and found.get("objective") == {"name": "standard"}:
        found["objective"] = {"name": "madry"}
    return found


def complete(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with defaults; an objective given by its name alone becomes a mapping.

    Raises:
        TrainingError: a key is unknown or a value impossible.

    Example:
        >>> complete({"objective": "elbo", "epochs": 3})["objective"]
        {'name': 'elbo'}
    """
    for key in settings:
        if key not in DEFAULTS:
            remedy = did_you_mean(key, DEFAULTS, f"known keys are {', '.join(DEFAULTS)}")
            if key in FORMER:
                remedy = "write {}: {{{}: ...}}".format(*FORMER[key])
            raise TrainingError(f"unknown key '{key}'", where="training", remedy=remedy)
    full = {**DEFAULTS, **renewed(settings)}
    for key in ("epochs", "batch_size", "patience", "ema", "clip_norm"):
        if full[key] is not None and not full[key] > 0:
            raise TrainingError(f"{full[key]} is not positive", where=f"training.{key}")
    if full["ema"] is not None and not full["ema"] < 1:
        raise TrainingError(f"{full['ema']} is not below 1", where="training.ema")
    return full


def phases(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings of each phase of a complete training; without phases, the training's own.

    Raises:
        TrainingError: as of :func:`complete`, or a phase says what holds for all phases.

    Example:
        >>> settings = complete({"phases": [{"epochs": 2}, {"epochs": 3, "objective": "elbo"}]})
        >>> [(phase["epochs"], phase["objective"]["name"]) for phase in phases(settings)]
        [(2, 'standard'), (3, 'elbo')]
    """
    common = {key: value for key, value in settings.items() if key not in WHOLE}
    for number, phase in enumerate(settings["phases"]):
        for key in phase:
            if key in WHOLE:
                raise TrainingError(
                    f"'{key}' holds for the whole training",
                    where=f"training.phases.{number}",
                    remedy="write it beside phases",
                )
    return [complete(over(common, renewed(phase))) for phase in settings["phases"] or ({},)]
