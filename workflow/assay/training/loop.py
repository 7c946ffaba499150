"""The training loop: one for every model, since a model brings its own loss.

Images stay on the device as bytes. A batch is indexed, converted and scaled there, so that an epoch
costs little more than the network's own passes (``benchmarks/training.py`` measures it).

Every random number derives from the names of the training, the epoch and the batch, never from what
was drawn before. So a checkpoint needs no generator states, and a training that was killed anywhere
ends with the same bits as one that was not, on the same device with as many threads.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from assay.foundation.errors import TrainingError
from assay.foundation.files import digest_of
from assay.foundation.progress import progress
from assay.foundation.seeds import seed_for
from assay.models.base import Classifier, placed
from assay.training.adversary import Adversary
from assay.training.augment import augmentations
from assay.training.checkpoints import Checkpoints
from assay.training.interrupts import Request, stop_request

log = logging.getLogger(__name__)

# What the parts of a batch's loss are joined to before the backward pass. The sum is what the
# published code of GBZ minimises; with Adam the two differ by weight decay only.
OBJECTIVES = {"standard": Tensor.mean, "elbo": Tensor.sum}

DEFAULTS: Mapping[str, Any] = {
    "objective": "standard",
    "epochs": 15,
    "patience": None,
    "batch_size": 64,
    "learning_rate": 3e-3,
    "weight_decay": 0.0,
    "scheduler": {"step_size": 10, "gamma": 0.1},
    "augment": [],
    "adversary": None,
    "samples": None,
    "validation_samples": None,
}


@dataclass(frozen=True)
class TrainingResult:
    """What a training leaves.

    Attributes:
        best_state: weights (on the CPU) after the epoch with the highest validation accuracy, the
            latest of equals; the last weights where nothing was held out for validation.
        last_state: weights after the last epoch, on the CPU.
        history: a row per epoch: ``epoch`` (from 0), ``learning_rate``, ``seconds``, and for train
            and val ``*_loss`` (in the unit that is minimised: per image, or, for recipe ``elbo``,
            per full batch), ``*_accuracy``, and each part of the loss per image.
        facts: sizes, best epoch, seconds and the network's own facts, fit for JSON.
    """

    best_state: dict[str, Tensor]
    last_state: dict[str, Tensor]
    history: pd.DataFrame
    facts: dict[str, Any]


@dataclass
class _Progress:
    """The progress of a training, beside its weights; plain values, as checkpoints hold them.

    Attributes:
        epoch: the epoch that runs, from 0.
        position: images of it that are done.
        sums: per part of the loss, the sum over these images.
        seconds: time spent on this epoch so far.
        history: rows of finished epochs.
        best_epoch, best_accuracy: of the best weights so far.
    """

    epoch: int = 0
    position: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    best_accuracy: float = -math.inf


@dataclass(frozen=True)
class _Images:
    """Bytes and labels on the device, in the order of the indices."""

    pixels: Tensor
    labels: Tensor

    @classmethod
    def take(
        cls, images: np.ndarray, labels: np.ndarray, indices: np.ndarray, device: torch.device
    ) -> _Images:
        return cls(
            torch.from_numpy(np.ascontiguousarray(images[indices])).to(device),
            torch.from_numpy(np.asarray(labels)[indices].astype(np.int64)).to(device),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, chosen: Tensor | slice) -> tuple[Tensor, Tensor]:
        return self.pixels[chosen].float().div_(255), self.labels[chosen]


def train(
    model: Classifier,
    images: np.ndarray,
    labels: np.ndarray,
    train_indices: np.ndarray,
    val_indices: np.ndarray,
    settings: Mapping[str, Any],
    *,
    work: Path,
    names: Sequence[object],
    device: torch.device | str = "cpu",
    checkpoint_every_s: float = 60.0,
) -> TrainingResult:
    """Trains `model` in place with Adam and a stepwise falling learning rate.

    An interrupted training resumes at its last checkpoint in `work`, also in the middle of an
    epoch, and ends with the same weights. The result of a finished one is read from there.
    SIGINT and SIGTERM are obeyed after the step that runs, with a checkpoint of it.

    Args:
        model: brings its loss; moved to `device`. Frozen parameters are left alone.
        images: (N, C, H, W) uint8, memory-mapped or not.
        labels: (N,) class indices.
        train_indices: which images train.
        val_indices: which images choose the best weights; may be empty.
        settings: a catalogue entry's ``training``: any of the keys of :data:`DEFAULTS`. The caps
            ``samples`` and ``validation_samples`` are for whoever chooses the indices.
        work: folder of this training's checkpoints.
        names: what the training is called, seed included; all randomness derives from it.
        device: where to compute.
        checkpoint_every_s: seconds of work that a kill may cost, at most.

    Raises:
        TrainingError: a setting is impossible, nothing is there to train on, a class that needs
            images has none, the loss is no longer a number, the model reports that it diverges, or
            disk or memory is full. Checkpoints stay.
        ModelError: the model still awaits its weights.
    """
    device = torch.device(device)
    settings = _checked(settings)
    names = tuple(map(str, names))
    model.require_weights()
    _check_classes(model, np.asarray(labels)[train_indices], names)
    sizes = [len(train_indices), len(val_indices)]
    checkpoints = Checkpoints(work, _identity(model, settings, names, sizes))
    try:
        training = _Training(
            placed(model, device),
            _Images.take(images, labels, train_indices, device),
            _Images.take(images, labels, val_indices, device),
            settings,
            names,
            device,
            checkpoints,
            checkpoint_every_s,
        )
        with _reproducible(device), stop_request() as request:
            return training.run(request)
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"{device} has not enough memory",
            where="/".join(names),
            remedy="lower training.batch_size or training.samples in config/catalogue/models.yaml",
        ) from error


def untrained(model: Classifier) -> TrainingResult:
    """What a training would leave of a model whose weights come from elsewhere."""
    state = _on_cpu(model.state_dict())
    row = dict.fromkeys(("train_loss", "val_loss", "train_accuracy", "val_accuracy"), math.nan)
    history = pd.DataFrame([{"epoch": 0, **row, "learning_rate": 0.0, "seconds": 0.0}])
    facts = {
        "epochs": 0,
        "best_epoch": 0,
        "best_val_accuracy": None,
        "training": {},
        "seconds": 0.0,
    }
    return TrainingResult(state, state, history, {**model.facts(), **facts})


class _Training:
    """One training under way."""

    def __init__(
        self,
        model: Classifier,
        train_images: _Images,
        val_images: _Images,
        settings: Mapping[str, Any],
        names: tuple[str, ...],
        device: torch.device,
        checkpoints: Checkpoints,
        checkpoint_every_s: float,
    ):
        if not len(train_images):
            raise TrainingError("there is no image to train on", where="/".join(names))
        self.model, self.train_images, self.val_images = model, train_images, val_images
        self.settings, self.names, self.device = settings, names, device
        self.checkpoints, self.checkpoint_every_s = checkpoints, checkpoint_every_s
        self.augment = augmentations(settings["augment"])
        self.adversary = Adversary.of(settings["adversary"])
        self.join = OBJECTIVES[settings["objective"]]
        trained = [item for item in model.parameters() if item.requires_grad]
        if not trained:
            raise TrainingError(
                "every layer is frozen",
                where="/".join(names),
                remedy="name layers that train under settings.trainable",
            )
        self.optimiser = torch.optim.Adam(
            trained, lr=settings["learning_rate"], weight_decay=settings["weight_decay"], fused=True
        )
        self.at = _Progress()
        self.best_state: dict[str, Tensor] = {}
        self.generator = torch.Generator(device)

    def run(self, request: Request) -> TrainingResult:
        self._restore()
        epochs, size = self.settings["epochs"], len(self.train_images)
        bar = progress(
            total=epochs * size,
            initial=self.at.epoch * size + self.at.position,
            desc=f"train {'/'.join(self.names)}",
            unit="image",
        )
        saved = time.monotonic()
        with bar:
            while self.at.epoch < epochs and not self._patience_exhausted():
                for start, stop, parts in self._epoch():
                    bar.update(stop - start)
                    if request.signal or time.monotonic() - saved > self.checkpoint_every_s:
                        self._checkpoint(stop, parts)
                        saved = time.monotonic()
                    if request.signal:
                        request.obey()
                row = self.at.history[-1]
                bar.set_postfix_str(
                    f"epoch {self.at.epoch}/{epochs}, validation {row['val_accuracy']:.4f}"
                )
        self._checkpoint(0, {}, last=True)
        return self._result()

    def _patience_exhausted(self) -> bool:
        """Whether `patience` epochs have passed without a better validation accuracy."""
        patience = self.settings["patience"]
        return patience is not None and self.at.epoch - self.at.best_epoch > patience

    def _epoch(self) -> Iterator[tuple[int, int, dict[str, Tensor]]]:
        """Runs the rest of the current epoch.

        Yields:
            After each batch: its first and last (excluded) position and the sums of the loss's
            parts so far, still on the device.
        """
        at, size = self.at, len(self.train_images)
        rate = self._learning_rate(at.epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        order = torch.randperm(
            size, generator=torch.Generator().manual_seed(seed_for("order", *self.names, at.epoch))
        ).to(self.device)
        began = time.monotonic() - at.seconds
        totals = {
            name: torch.tensor(value, dtype=torch.float64, device=self.device)
            for name, value in at.sums.items()
        }
        self.model.train()
        for start, stop in batches(size, self.settings["batch_size"]):
            if start < at.position:
                continue
            for name, value in self._step(order[start:stop], start).items():
                value = value.detach().sum(dtype=torch.float64)
                totals[name] = totals[name] + value if name in totals else value
            at.seconds = time.monotonic() - began
            yield start, stop, totals
        means = {name: value / size for name, value in self._finite(totals).items()}
        trouble = self.model.diverges(means)
        if trouble:
            raise TrainingError(
                f"{trouble} in epoch {at.epoch} at learning rate {rate:g}",
                where="/".join(self.names),
                remedy="lower training.learning_rate in config/catalogue/models.yaml; "
                "the last checkpoint is kept",
            )
        self._finish_epoch(means, rate, began)

    def _step(self, chosen: Tensor, start: int) -> dict[str, Tensor]:
        """One update on the images at `chosen`; returns the parts of their loss, each (B,)."""
        seed = seed_for("batch", *self.names, self.at.epoch, start)
        self.generator.manual_seed(seed)
        torch.manual_seed(seed)
        pixels, labels = self.train_images.batch(chosen)
        for augmentation in self.augment:
            pixels = augmentation(pixels, self.generator)
        if self.adversary:
            pixels = self.adversary(self.model, pixels, labels, self.generator)
        parts = self.model.training_loss(pixels, labels, self.generator)
        self.optimiser.zero_grad(set_to_none=True)
        self.join(parts["total"]).backward()
        self.optimiser.step()
        return parts

    def _finish_epoch(self, means: dict[str, float], rate: float, began: float) -> None:
        at = self.at
        validation = self._validate()
        accuracy = validation.get("accuracy", math.nan)
        # Not-a-number compares as False: without validation the latest weights are the best.
        if not accuracy < at.best_accuracy:
            at.best_epoch = at.epoch
            at.best_accuracy = accuracy if len(self.val_images) else -math.inf
            self.best_state = _on_cpu(self.model.state_dict())
        at.history.append(
            {
                "epoch": at.epoch,
                "train_loss": means["total"] * self._unit,
                "val_loss": validation.get("total", math.nan) * self._unit,
                "train_accuracy": means.get("accuracy", math.nan),
                "val_accuracy": accuracy,
                "learning_rate": rate,
                "seconds": time.monotonic() - began,
                **{
                    f"{prefix}_{name}": value
                    for prefix, parts in (("train", means), ("val", validation))
                    for name, value in parts.items()
                    if name not in ("total", "accuracy")
                },
            }
        )
        at.epoch, at.position, at.sums, at.seconds = at.epoch + 1, 0, {}, 0.0

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Mean of each part of the loss over the validation images, in evaluation mode.

        The noise is the same after every epoch, so that epochs are compared on equal terms. With an
        adversary they are those of the perturbed images, whose accuracy then chooses the best
        weights; ``clean_accuracy`` is that of the images as they are.
        """
        if not len(self.val_images):
            return {}
        self.model.eval()
        self.generator.manual_seed(seed_for("validation", *self.names))
        totals: dict[str, Tensor] = {}
        size = min(self.settings["batch_size"], self.model.max_batch)
        for start, stop in batches(len(self.val_images), size):
            pixels, labels = self.val_images.batch(slice(start, stop))
            clean = {}
            if self.adversary:
                predicted = self.model.validation_loss(pixels, labels, self.generator)
                clean = {"clean_accuracy": predicted["accuracy"]}
                pixels = self.adversary(self.model, pixels, labels, self.generator)
            parts = {**self.model.validation_loss(pixels, labels, self.generator), **clean}
            for name, value in parts.items():
                totals[name] = totals.get(name, 0) + value.sum(dtype=torch.float64)
        return {name: value.item() / len(self.val_images) for name, value in totals.items()}

    def _checkpoint(self, position: int, totals: dict[str, Tensor], last: bool = False) -> None:
        """Saves the state with `position` images of the current epoch done.

        The last one of a training has no optimiser state: only its result is needed.
        """
        self.at.position, self.at.sums = position, self._finite(totals)
        content = {
            "model": self.model.state_dict(),
            "optimiser": None if last else self.optimiser.state_dict(),
            "best": self.best_state,
            "at": asdict(self.at),
        }
        step = self.at.epoch * len(self.train_images) + position
        self.checkpoints.save(content, step, alone=last)

    def _restore(self) -> None:
        content = self.checkpoints.load(self.device)
        if content is None:
            return
        self.model.load_state_dict(content["model"])
        if content["optimiser"] is not None:
            self.optimiser.load_state_dict(content["optimiser"])
        self.best_state = _on_cpu(content["best"])
        self.at = _Progress(**content["at"])
        log.info(
            "%s goes on at epoch %d, image %d",
            "/".join(self.names),
            self.at.epoch,
            self.at.position,
        )

    def _finite(self, totals: dict[str, Tensor]) -> dict[str, float]:
        """`totals` as numbers; the one place where the host waits for the device.

        Raises:
            TrainingError: the loss is not a number; checkpoints from before it was stay.
        """
        numbers = {name: value.item() for name, value in totals.items()}
        if not math.isfinite(numbers.get("total", 0.0)):
            raise TrainingError(
                f"the loss is NaN or infinite in epoch {self.at.epoch} "
                f"at learning rate {self._learning_rate(self.at.epoch):g}",
                where="/".join(self.names),
                remedy="lower training.learning_rate in config/catalogue/models.yaml",
            )
        return numbers

    def _learning_rate(self, epoch: int) -> float:
        scheduler = self.settings["scheduler"]
        falls = epoch // scheduler["step_size"] if scheduler else 0
        return self.settings["learning_rate"] * (scheduler["gamma"] ** falls if falls else 1.0)

    @property
    def _unit(self) -> int:
        """Images that the reported loss is a sum over."""
        return self.settings["batch_size"] if self.settings["objective"] == "elbo" else 1

    def _result(self) -> TrainingResult:
        at = self.at
        history = pd.DataFrame(at.history)
        return TrainingResult(
            self.best_state,
            _on_cpu(self.model.state_dict()),
            history,
            {
                **self.model.facts(),
                "train_n": len(self.train_images),
                "val_n": len(self.val_images),
                "epochs": at.epoch,
                "best_epoch": at.best_epoch,
                "best_val_accuracy": at.best_accuracy if len(self.val_images) else None,
                "training": dict(self.settings),
                "loss_per": "batch" if self._unit > 1 else "image",
                "seconds": float(history["seconds"].sum()),
                "device": str(self.device),
                "threads": torch.get_num_threads(),
            },
        )


def batches(total: int, size: int) -> list[tuple[int, int]]:
    """First and last (excluded) position of each batch.

    A last batch of a single image joins the one before: batch normalisation cannot train on one.

    Example:
        >>> batches(5, 2)
        [(0, 2), (2, 5)]
    """
    starts = list(range(0, total, size))
    if len(starts) > 1 and total - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], total], strict=True))


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with defaults.

    Raises:
        TrainingError: a key is unknown or a value impossible.
    """
    for key in settings:
        if key not in DEFAULTS:
            raise TrainingError(
                f"unknown key '{key}'",
                where="training",
                remedy=f"known keys are {', '.join(DEFAULTS)}",
            )
    full = {**DEFAULTS, **settings}
    if full["objective"] not in OBJECTIVES:
        raise TrainingError(
            f"'{full['objective']}' is not allowed",
            where="training.recipe",
            remedy=f"use one of {', '.join(OBJECTIVES)}",
        )
    for key in ("epochs", "batch_size", "learning_rate", "patience"):
        if full[key] is not None and not full[key] > 0:
            raise TrainingError(f"{full[key]} is not positive", where=f"training.{key}")
    return full


def _check_classes(model: Classifier, labels: np.ndarray, names: tuple[str, ...]) -> None:
    """Each class of a generative model learns from its own images: one without any is an error."""
    missing = np.setdiff1d(np.arange(model.classes), labels)
    if not len(missing) or not len(labels):
        return
    what = f"no training image of class {', '.join(map(str, missing))}"
    if model.needs_every_class:
        raise TrainingError(
            what,
            where="/".join(names),
            remedy="raise training.samples, or take the class out of the data set",
        )
    log.warning("%s: %s; it will not be predicted", "/".join(names), what)


def _identity(
    model: Classifier, settings: Mapping[str, Any], names: tuple[str, ...], sizes: list[int]
) -> str:
    """Equal for trainings whose checkpoints are interchangeable."""
    shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
    trained = [name for name, value in model.named_parameters() if value.requires_grad]
    return digest_of([type(model).__name__, shapes, trained, dict(settings), names, sizes])


@contextmanager
def _reproducible(device: torch.device) -> Iterator[None]:
    """Equal bits for equal steps, and torch's global random state as it was afterwards."""
    if device.type != "cuda":
        with torch.random.fork_rng(devices=[]):
            yield
        return
    # cuBLAS reads this when it starts; without it matrix products may differ between runs.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False
        with torch.random.fork_rng(devices=[device]):
            yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.utils.deterministic.fill_uninitialized_memory = fill


def _on_cpu(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in state.items()}
