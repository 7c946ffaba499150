"""A check of a model: the sentence that holds, what it is run on, and its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from assay.attacks.torch_state import own_state
from assay.evaluation.inspection import differentiating, one_line
from assay.foundation.errors import AssayError
from assay.models.base import Classifier

# Images of a check.
IMAGES = 6


@dataclass(frozen=True)
class Subject:
    """A model that is checked, on random images.

    Attributes:
        model: with its weights, in evaluation mode. No check leaves it changed. Of one that assay
            trains, layers that start at zero, where no gradient passes, get random weights. One
            that keeps training images gets random ones.
        build: makes the model again with other initial weights; None: it cannot be built again.
        trains: whether assay trains it.
        seed: of the images.
    """

    model: Classifier
    build: Callable[[], Classifier] | None = None
    trains: bool = True
    seed: int = 1

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        give_images(self.model, generator)
        if self.trains:
            for weights in self.model.parameters():
                if weights.ndim > 1 and not weights.any():
                    torch.nn.init.normal_(weights, std=0.1, generator=generator)

    @cached_property
    def images(self) -> Tensor:
        """(B, C, H, W) in [0, 1]."""
        return torch.rand(
            IMAGES, *self.model.shape, generator=torch.Generator().manual_seed(self.seed)
        )

    @cached_property
    def labels(self) -> Tensor:
        """(B,)."""
        return torch.arange(IMAGES) % self.model.classes

    @cached_property
    def searches(self) -> bool:
        """Whether the model differentiates while it predicts."""
        with differentiating() as watched, torch.no_grad():
            self.model.logits(self.images[:1], torch.Generator().manual_seed(0))
        return bool(watched.called)


def give_images(model: Classifier, generator: torch.Generator) -> None:
    """Gives a model that keeps training images (`Classifier.remember`) two random ones a class."""
    if model.remembers:
        labels = torch.arange(model.classes).repeat_interleave(min(2, model.remembers))
        size = (len(labels), *model.shape)
        images = torch.randint(256, size, generator=generator, dtype=torch.uint8)
        model.remember(images, labels)


@dataclass(frozen=True)
class Check:
    """A sentence that holds for every model that can be evaluated.

    Attributes:
        sentence: what holds.
        remedy: what to do where it does not.
        needed: whether an evaluation is wrong, or impossible, without it. Of the others the
            report speaks itself, since attacks of some kinds remain.
        test: raises `Failed` where it does not hold, and `Skipped` where it says nothing.
    """

    sentence: str
    remedy: str
    needed: bool
    test: Callable[[Subject], None] = field(repr=False)

    def __str__(self) -> str:
        return self.sentence

    def run(self, subject: Subject) -> Result:
        """Whether it holds for a subject. Whatever the model raises is a failure."""
        try:
            with own_state():
                self.test(subject)
        except Skipped as reason:
            return Result(self.sentence, "skip", str(reason))
        except Failed as reason:
            return Result(self.sentence, "fail", str(reason), self.remedy, self.needed)
        except AssayError as error:
            remedy = error.remedy or self.remedy
            return Result(self.sentence, "fail", error.what, remedy, self.needed)
        except Exception as error:  # any code may be behind a model
            return Result(self.sentence, "fail", one_line(error), self.remedy, self.needed)
        return Result(self.sentence, "pass")


@dataclass(frozen=True)
class Result:
    """The result of one check.

    Attributes:
        check: the sentence.
        status: ``pass``, ``fail`` or ``skip``.
        what: what was found instead, or why the check says nothing.
        remedy: what to do.
        needed: of a failure, whether no evaluation should be run without it.
    """

    check: str
    status: str
    what: str = ""
    remedy: str = ""
    needed: bool = False

    def __str__(self) -> str:
        text = f"{self.status}  {self.check}"
        text = f"{text}: {self.what}" if self.what else text
        return f"{text}; {self.remedy}" if self.remedy else text


class Failed(Exception):
    """What was found instead of what a check asks for."""


class Skipped(Exception):
    """Why a check says nothing about a model."""
