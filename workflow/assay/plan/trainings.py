"""The training part of a model's entry: laid over each other by name, completed and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial, reduce
from pathlib import Path
from typing import Any

from assay.foundation.errors import ConfigError
from assay.foundation.numbers import number
from assay.foundation.outline import Outline, classes_of, outline, source_file
from assay.foundation.sources import Source, laid_over
from assay.plan.validation import Nested, unknown
from assay.training.settings import DEFAULTS, FORMER, NAMED, of_group, over, phases, renewed
from assay.training.torch_names import (
    FILLED,
    GROUPS,
    OPTIMIZERS,
    OWN_KEYS,
    REQUIRED,
    SCHEDULERS,
)

OBJECTIVES = "assay.training.objectives"
OBJECTIVE = "assay.training.objective:Objective"
ADVERSARIAL = "assay.training.adversary:Adversarial"
# What is not written beside these names; also of entries that name nothing.
FILLINGS: Mapping[str, Mapping[str, Any]] = {
    "Adam": {"weight_decay": DEFAULTS["optimizer"]["weight_decay"]},
    "StepLR": {key: DEFAULTS["scheduler"][key] for key in ("step_size", "gamma")},
}


def renewed_source(source: Source) -> Source:
    """What a file says about a model, with its training as it is written now."""
    if not isinstance(source.tree, Mapping):
        return source
    source = _renewed_at(source, ())
    own = source.tree.get("for_datasets")
    for dataset in own if isinstance(own, Mapping) else ():
        source = _renewed_at(source, ("for_datasets", dataset))
    return source


def _renewed_at(source: Source, keys: tuple[Any, ...]) -> Source:
    part = source.below(*keys, "training")
    if not part or not isinstance(part.tree, Mapping):
        return source
    path, tree = (*keys, "training"), renewed(part.tree)
    if tree == part.tree:
        return source
    moved = [((*path, *new), part.written(old)) for old, new in FORMER.items() if old in part.tree]
    if isinstance(part.tree.get("objective"), str):
        moved.append(((*path, "objective", "name"), part.written("objective")))
    return source._replace(tree=_replaced(source.tree, path, tree), moved=(*source.moved, *moved))


def _replaced(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    return {**tree, path[0]: _replaced(tree[path[0]], path[1:], value)}


def laid_over_by_name(sources: Iterable[Source]) -> Any:
    """What all sources say of a model; an optimiser of another name takes no keywords over."""
    sources = list(sources)
    entry = laid_over(sources)
    if not isinstance(entry, Mapping):
        return entry  # the schema complains
    trainings = [part.tree for source in sources if (part := source.below("training"))]
    return {**entry, "training": reduce(over, trainings)} if trainings else entry


def completed_training(entry: Any) -> Any:
    """A model's entry with the defaults of its training that depend on names.

    An entry that has an adversary and names no objective is trained by ``madry``.
    """
    training = entry.get("training", {}) if isinstance(entry, Mapping) else None
    if not isinstance(training, Mapping):
        return entry
    found = {**training}
    if found.get("adversary"):
        found.setdefault("objective", {"name": "madry"})
    for part in NAMED:
        found.setdefault(part, DEFAULTS[part])
        if isinstance(found[part], Mapping):
            found[part] = _with_fillings(part, found[part])
    if listed := found.get("phases"):
        common = found.get("epochs", DEFAULTS["epochs"])
        if isinstance(listed, list) and all(isinstance(phase, Mapping) for phase in listed):
            found["phases"] = [{"epochs": common, **phase} for phase in listed]
            counts = [phase["epochs"] for phase in found["phases"]]
            if all(isinstance(count, int) for count in counts):
                found["epochs"] = sum(counts)
    return {**entry, "training": found}


def _with_fillings(part: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    named = {"name": DEFAULTS[part]["name"], **settings}
    fillings = FILLINGS.get(str(named["name"]), {})
    if part == "optimizer":
        fillings = {"lr": DEFAULTS["optimizer"]["lr"], **fillings}
    named |= {key: value for key, value in fillings.items() if key not in named}
    return {key: _as_number(value) for key, value in named.items()}


def _as_number(value: Any) -> Any:
    """A number where a text is one: YAML reads ``1e-4`` as a text."""
    if isinstance(value, list):
        return [_as_number(part) for part in value]
    if isinstance(value, dict):
        return {key: _as_number(part) for key, part in value.items()}
    try:
        return number(value, "") if isinstance(value, str) else value
    except ConfigError:
        return value


def phases_of(training: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings of each phase of a completed training."""
    return phases({**DEFAULTS, **training})


def objectives_of(training: Mapping[str, Any]) -> list[str]:
    """The modules of the objectives that a completed training has, in the order of its phases."""
    names = [phase["objective"]["name"] for phase in phases_of(training)]
    return list(dict.fromkeys(f"{OBJECTIVES}.{name}" for name in names))


def check_training(training: Nested, where: Callable[..., str]) -> None:
    """Optimiser, scheduler and objective of a training exist and have the keywords written.

    Args:
        training: a completed entry's.
        where: gives the file and place of a part of it.

    Raises:
        ConfigError: with the nearest known name.
    """
    for number_, phase in enumerate(phases_of(training)):
        place = where
        if training["phases"]:
            own = training["phases"][number_]
            place = partial(_in_phase, where, number_, own)
        _check_optimizer(phase["optimizer"], partial(place, "optimizer"))
        if phase["scheduler"]:
            _check_scheduler(phase["scheduler"], partial(place, "scheduler"))
        _check_objective(phase, place)


def _in_phase(where: Callable[..., str], number_: int, own: Nested, *keys: Any, **rest: Any) -> str:
    """The place of a part of a phase, which may be that of the whole training."""
    return where("phases", number_, *keys, **rest) if keys[0] in own else where(*keys, **rest)


def _check_optimizer(settings: Nested, where: Callable[..., str]) -> None:
    for group in ("", *(settings.get(GROUPS) or {})):
        place = partial(where, GROUPS, group) if group else where
        _check_named("optimizer", of_group(settings, group), OPTIMIZERS, (), place)


def _check_scheduler(settings: Nested, where: Callable[..., str]) -> None:
    _check_named("scheduler", settings, SCHEDULERS, OWN_KEYS, where)
    name = settings["name"]
    for key in REQUIRED.get(name, ()):
        if key not in settings:
            raise ConfigError(
                f"{name} needs '{key}'",
                where=where(),
                remedy=f"its keywords are {', '.join(SCHEDULERS[name])}"
                + (f"; {FILLED[name]} may be left out" if name in FILLED else ""),
            )


def _check_named(
    kind: str,
    settings: Nested,
    known: Mapping[str, tuple[str, ...]],
    own: Iterable[str],
    where: Callable[..., str],
) -> None:
    name, place = settings["name"], "torch.optim, docs/training.md"
    if name not in known:
        raise unknown(kind, name, known, where("name"), place)
    for key in settings:
        if key not in ("name", *own, *known[name]):
            keywords = (*known[name], *own)
            raise unknown(f"keyword of {name} called", key, keywords, where(by=(key,)), place)


def _check_objective(phase: Nested, where: Callable[..., str]) -> None:
    settings = phase["objective"]
    name, known = settings["name"], objective_names()
    if name not in known:
        place = str(Path(source_file(OBJECTIVES)).parent)
        raise unknown("objective", name, known, where("objective", "name"), place)
    outlined = objective_outline(name, where)
    arguments = outlined.arguments
    for key in settings:
        if key not in ("name", *arguments) or key == "adversary":
            mine = [argument for argument in arguments if argument != "adversary"]
            at, place = where("objective", by=(key,)), source_file(f"{OBJECTIVES}.{name}")
            raise unknown(f"setting of objective {name} called", key, mine, at, place)
    if phase["adversary"] and "adversary" not in arguments:
        raise ConfigError(
            f"objective '{name}' has no adversary",
            where=where("adversary"),
            remedy="write objective: madry, or take the adversary out",
        )
    if not phase["adversary"] and ADVERSARIAL in outlined.lineage:
        raise ConfigError(
            f"objective '{name}' needs an adversary",
            where=where("objective"),
            remedy="write for example adversary: {norm: linf, epsilon: 8/255, steps: 10}",
        )


def objective_names() -> list[str]:
    """The objectives that there are, one for each file of their package."""
    folder = Path(source_file(OBJECTIVES)).parent
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def objective_outline(name: str, where: Callable[..., str]) -> Outline:
    """How an objective is built, read from its file.

    Raises:
        ConfigError: the file defines no objective, or several.
    """
    module = f"{OBJECTIVES}.{name}"
    found = [outline(f"{module}:{kind}") for kind in classes_of(module)]
    found = [item for item in found if OBJECTIVE in item.lineage]
    if len(found) != 1:
        raise ConfigError(
            f"the file of objective '{name}' has {len(found)} objectives",
            where=where("objective", "name"),
            remedy=f"define one subclass of {OBJECTIVE} in {source_file(module)}",
        )
    return found[0]
