"""What an objective of training is, and how a catalogue's name becomes one.

Each file of :mod:`assay.training.objectives` holds one objective, under the file's name. The loop
knows none of them: it takes the updates that an objective yields. An objective owns the loss, the
groups of parameters (each with an optimiser of its own), the inner attack and the validation.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from assay.foundation.errors import TrainingError
from assay.foundation.suggestions import did_you_mean
from assay.models.base import Classifier, placed

PACKAGE = "assay.training.objectives"


@dataclass(frozen=True)
class Batch:
    """What one step of the loop works on.

    Attributes:
        images: (B, C, H, W) in [0, 1], augmented.
        labels: (B,) class indices.
        generator: all noise of the step comes from it.
        epoch: from 0, of the whole training.
    """

    images: Tensor
    labels: Tensor
    generator: torch.Generator
    epoch: int = 0


@dataclass(frozen=True)
class Update:
    """One step of one or more optimisers.

    Attributes:
        loss: the scalar whose gradient is followed.
        parts: what the history records, each (B,), one value per image; ``total`` is the loss and
            ``accuracy`` is 1 where the prediction is right.
        optimisers: names of the parameter groups that take the step; None: all.
    """

    loss: Tensor
    parts: Mapping[str, Tensor]
    optimisers: tuple[str, ...] | None = None


class Objective:
    """What training minimises: by default the mean of the model's own loss, by one optimiser.

    A subclass overrides :meth:`losses` for another loss, or :meth:`updates` for several steps per
    batch, such as those of a discriminator and of a generator. Its keyword arguments are the
    settings beside ``name`` in ``training.objective``; one named ``adversary`` receives
    ``training.adversary``, and one named as a role of the entry's ``needs`` the model of that role.

    Attributes:
        loss_is_a_sum: whether the loss of a batch is the sum of its images' losses; else their
            mean. The history shows it in the unit that is minimised.
    """

    loss_is_a_sum: bool = False

    def parameter_groups(self, model: Classifier) -> dict[str, list[nn.Parameter]]:
        """The parameters that train, by the name of their optimiser."""
        return {"model": [item for item in model.parameters() if item.requires_grad]}

    def losses(self, model: Classifier, batch: Batch) -> dict[str, Tensor]:
        """The parts of the loss of a batch, each (B,); ``total`` is minimised."""
        return model.training_loss(batch.images, batch.labels, batch.generator)

    def updates(self, model: Classifier, batch: Batch) -> Iterator[Update]:
        """The steps on one batch: each is taken before the next one is computed.

        Args:
            model: in training mode, and left in it.
            batch: the images.
        """
        parts = self.losses(model, batch)
        total = parts["total"]
        yield Update(total.sum() if self.loss_is_a_sum else total.mean(), parts)

    def validate(
        self, model: Classifier, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Parts of the loss on validation images, each (B,); ``accuracy`` chooses the best weights.

        Args:
            model: in evaluation mode.
            images: (B, C, H, W) in [0, 1].
            labels: (B,).
            generator: its noise is the same after each epoch.
        """
        return model.validation_loss(images, labels, generator)


def objective_class(name: str) -> type[Objective]:
    """The objective of a file of :mod:`assay.training.objectives`.

    Raises:
        TrainingError: there is none of that name; the message suggests the nearest.

    Example:
        >>> objective_class("trades").__name__
        'Trades'
    """
    known = [item.name for item in pkgutil.iter_modules(importlib.import_module(PACKAGE).__path__)]
    if name not in known:
        raise TrainingError(
            f"there is no objective '{name}'",
            where="training.objective",
            remedy=did_you_mean(name, known, f"known are {', '.join(known)}"),
        )
    module = importlib.import_module(f"{PACKAGE}.{name}")
    found = [
        item
        for item in vars(module).values()
        if inspect.isclass(item)
        and issubclass(item, Objective)
        and item.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise TrainingError(
            f"the file of objective '{name}' has {len(found)} objectives",
            where=f"workflow/{module.__name__.replace('.', '/')}.py",
            remedy="define one subclass of assay.training.objective:Objective in it",
        )
    return found[0]


def placed_needs(
    needs: Mapping[str, Classifier], model: Classifier, device: torch.device
) -> dict[str, Classifier]:
    """The models that an objective needs on a device, in evaluation mode.

    Their weights take no gradients, unless they are part of the `model` that trains.
    """
    parts = set(model.modules())
    for item in needs.values():
        if item not in parts:
            item.requires_grad_(False)
    return {role: placed(item, device).eval() for role, item in needs.items()}


def make_objective(
    settings: Mapping[str, Any],
    adversary: Mapping[str, Any] | None = None,
    needs: Mapping[str, Classifier] | None = None,
) -> Objective:
    """The objective that a training's settings describe.

    Args:
        settings: ``training.objective``: ``name``, and the keyword arguments of its class.
        adversary: ``training.adversary``.
        needs: trained models by their role; those that the objective has no argument for are left.

    Raises:
        TrainingError: the name or an argument is unknown, or one is missing.
    """
    keywords = dict(settings)
    name = str(keywords.pop("name"))
    kind = objective_class(name)
    arguments = inspect.signature(kind).parameters
    own = [key for key in arguments if key != "adversary"]
    for key in keywords:
        if key not in own:
            raise TrainingError(
                f"objective '{name}' has no setting '{key}'",
                where="training.objective",
                remedy=did_you_mean(key, own, f"it has {', '.join(own) or 'none'}"),
            )
    if adversary and "adversary" not in arguments:
        raise TrainingError(
            f"objective '{name}' has no adversary",
            where="training.adversary",
            remedy="write objective: madry, or take the adversary out",
        )
    if "adversary" in arguments:
        keywords["adversary"] = adversary
    keywords |= {role: model for role, model in (needs or {}).items() if role in arguments}
    try:
        return kind(**keywords)
    except TypeError as error:
        raise TrainingError(str(error), where="training.objective") from error
