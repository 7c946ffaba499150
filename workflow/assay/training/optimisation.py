"""Optimisers and schedulers by torch's names, averaged weights and mixed precision of a training.

All of it is in the state that a checkpoint holds, so that a training that was killed goes on with
the same bits: momentum buffers, the place in the schedule, the average, the scale of the loss.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from assay.foundation.errors import TrainingError
from assay.models.base import Classifier
from assay.training.objective import Batch, Objective, Update
from assay.training.settings import of_group
from assay.training.torch_names import (
    EVERY_STEP,
    FILLED,
    GROUPS,
    INTERVAL,
    OPTIMIZERS,
    OWN_KEYS,
    SCHEDULERS,
    WARMUP,
    WARMUP_START,
)

# Fused kernels take half the time of a step, and other bits than the loops over tensors.
FUSED = ("Adam", "AdamW", "SGD")
HALF = {"cuda": torch.float16, "cpu": torch.bfloat16}


class Optimisation:
    """What turns the updates of an objective into steps.

    Args:
        model: is trained in place.
        objective: names the groups of parameters.
        settings: a training's, complete: ``optimizer``, ``scheduler``, ``ema``, ``clip_norm``,
            ``mixed_precision``, ``epochs``.
        steps_per_epoch: batches of an epoch.
        device: where the model is.

    Attributes:
        evaluated: the weights that are validated and that the training leaves: the average
            where there is one, else the model's own.

    Raises:
        TrainingError: nothing is to be trained, or torch refuses a setting.
    """

    def __init__(
        self,
        model: Classifier,
        objective: Objective,
        settings: Mapping[str, Any],
        *,
        steps_per_epoch: int,
        device: torch.device,
    ):
        self._model, self._objective = model, objective
        self._clip = settings["clip_norm"]
        groups = {name: g for name, g in objective.parameter_groups(model).items() if g}
        if not groups:
            raise TrainingError(
                "every layer is frozen", remedy="name layers that train under settings.trainable"
            )
        self._optimisers = _optimisers(groups, settings["optimizer"])
        schedule = settings["scheduler"]
        self._per_step = bool(schedule) and _interval(schedule) == "step"
        length = settings["epochs"] * (steps_per_epoch if self._per_step else 1)
        self._schedulers = {
            name: scheduler(optimiser, schedule, length)
            for name, optimiser in self._optimisers.items()
            if schedule
        }
        self._half = HALF[device.type] if settings["mixed_precision"] else None
        self._device = device.type
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._half is not None)
        self._average = None
        if settings["ema"]:
            decay = get_ema_multi_avg_fn(settings["ema"])
            self._average = AveragedModel(model, multi_avg_fn=decay, use_buffers=True)

    @property
    def evaluated(self) -> Classifier:
        return self._model if self._average is None else cast(Classifier, self._average.module)

    @property
    def rate(self) -> float:
        """The learning rate of the next step, of the first group of parameters."""
        return next(iter(self._optimisers.values())).param_groups[0]["lr"]

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Takes all updates of a batch; returns the parts of their losses, each (B,)."""
        parts: dict[str, Tensor] = {}
        for update in self._updates(batch):
            self._apply(update)
            parts |= update.parts
        if self._average is not None:
            self._average.update_parameters(self._model)
        if self._per_step:
            self._advance()
        return parts

    def end_epoch(self) -> None:
        """Moves a schedule that goes by epochs on."""
        if not self._per_step:
            self._advance()

    def finish(self) -> None:
        """Leaves the averaged weights in the model, where there are some."""
        if self._average is not None:
            self._model.load_state_dict(self._average.module.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """All that a training that goes on needs beside the model, fit for a checkpoint."""
        return {
            "optimisers": _states(self._optimisers),
            "schedulers": _states(self._schedulers),
            "scaler": self._scaler.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what :meth:`state_dict` gave, of an optimisation with the same settings."""
        for kind, items in (("optimisers", self._optimisers), ("schedulers", self._schedulers)):
            for name, item in items.items():
                item.load_state_dict(state[kind][name])
        self._scaler.load_state_dict(state["scaler"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])

    def _updates(self, batch: Batch) -> Iterator[Update]:
        """The updates, computed in half precision where that is wanted; their steps are not."""
        updates = iter(self._objective.updates(self._model, batch))
        while True:
            with torch.autocast(self._device, self._half) if self._half else nullcontext():
                update = next(updates, None)
            if update is None:
                return
            yield update

    def _apply(self, update: Update) -> None:
        names = self._optimisers if update.optimisers is None else update.optimisers
        chosen = [self._optimisers[name] for name in names]
        for optimiser in self._optimisers.values():
            # Of all: a loss may reach weights whose turn it is not.
            optimiser.zero_grad(set_to_none=True)
        self._scaler.scale(update.loss).backward()
        for optimiser in chosen:
            if self._clip is not None:
                self._scaler.unscale_(optimiser)
                nn.utils.clip_grad_norm_(_parameters(optimiser), self._clip)
            self._scaler.step(optimiser)
        self._scaler.update()

    def _advance(self) -> None:
        with warnings.catch_warnings():
            # Of a resumed training torch does not know that steps were taken before.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            for item in self._schedulers.values():
                item.step()


def _optimisers(
    groups: Mapping[str, list[nn.Parameter]], settings: Mapping[str, Any]
) -> dict[str, torch.optim.Optimizer]:
    """An optimiser for each group of parameters."""
    for name in settings.get(GROUPS) or {}:
        if name not in groups:
            raise TrainingError(
                f"there is no group of parameters '{name}'",
                where=f"training.optimizer.{GROUPS}",
                remedy=f"the objective trains {', '.join(groups)}",
            )
    return {
        name: optimiser(parameters, of_group(settings, name)) for name, parameters in groups.items()
    }


def optimiser(parameters: list[nn.Parameter], settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """An optimiser by torch's name and keywords.

    Raises:
        TrainingError: torch refuses the settings.

    Example:
        >>> weights = [nn.Parameter(torch.zeros(2))]
        >>> optimiser(weights, {"name": "SGD", "lr": 0.1, "momentum": 0.9}).defaults["momentum"]
        0.9
    """
    keywords = {key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()}
    name = str(keywords.pop("name"))
    if name in FUSED:
        keywords["fused"] = True
    return _made("optimizer", name, OPTIMIZERS, torch.optim, parameters, **keywords)


def scheduler(
    optimised: torch.optim.Optimizer, settings: Mapping[str, Any], length: int
) -> lr_scheduler.LRScheduler:
    """A scheduler by torch's name and keywords, with a linear warm-up before it.

    Args:
        optimised: whose learning rate it sets.
        settings: ``name``, torch's keywords, and ``warmup`` (in steps of the schedule) with
            ``warmup_start`` (the factor of the first one).
        length: steps of the schedule in the whole training.

    Raises:
        TrainingError: torch refuses the settings.
    """
    keywords = {key: value for key, value in settings.items() if key not in OWN_KEYS}
    name = keywords.pop("name")
    warmup = settings.get(WARMUP) or 0
    if warmup and name in EVERY_STEP:
        raise TrainingError(
            f"{name} has a warm-up of its own", where=f"training.scheduler.{WARMUP}",
            remedy=f"take {WARMUP} out",
        )  # fmt: skip
    if name in FILLED:
        keywords.setdefault(FILLED[name], max(1, length - warmup))
    first = None
    if warmup:
        start = settings.get(WARMUP_START, 0.01)
        first = _made(
            "scheduler", "LinearLR", SCHEDULERS, lr_scheduler, optimised,
            start_factor=start, total_iters=warmup,
        )  # fmt: skip
    if name == "StepLR":
        # In closed form: torch multiplies step by step, and rounds each time.
        size, gamma = keywords["step_size"], keywords.get("gamma", 0.1)
        main = lr_scheduler.LambdaLR(optimised, lambda step: _falls(gamma, step // size))
    else:
        main = _made("scheduler", name, SCHEDULERS, lr_scheduler, optimised, **keywords)
    if first is None:
        return main
    return lr_scheduler.SequentialLR(optimised, [first, main], milestones=[warmup])


def _falls(gamma: float, times: int) -> float:
    return gamma**times if times else 1.0


def _interval(settings: Mapping[str, Any]) -> str:
    return settings.get(INTERVAL) or ("step" if settings["name"] in EVERY_STEP else "epoch")


def _made(
    kind: str, name: str, known: Mapping[str, Any], home: Any, *arguments: Any, **keywords: Any
) -> Any:
    """What torch calls `name`; its complaint becomes an error of the training."""
    if name not in known:
        raise TrainingError(
            f"there is no {kind} '{name}'",
            where=f"training.{kind}.name",
            remedy=f"known are {', '.join(known)}",
        )
    try:
        return getattr(home, name)(*arguments, **keywords)
    except (TypeError, ValueError) as error:
        raise TrainingError(f"{name}: {error}", where=f"training.{kind}") from error


def _parameters(item: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in item.param_groups for parameter in group["params"]]


def _states(items: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item.state_dict() for name, item in items.items()}
