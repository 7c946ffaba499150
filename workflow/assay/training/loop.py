"""The training loop: one for every model, since a model brings its own loss.

Images stay on the device as bytes. A batch is indexed, converted and scaled there, so that an epoch
costs little more than the network's own passes (``benchmarks/training.py`` measures it).

What is minimised, and by which steps, the loop does not know: an objective yields updates
(:mod:`assay.training.objective`), and :mod:`assay.training.optimisation` takes them.

Every random number derives from the names of the training, the epoch and the batch, never from what
was drawn before. So a checkpoint needs no generator states, and a training that was killed anywhere
ends with the same bits as one that was not, on the same device with as many threads.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
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
from assay.training.augment import augmentations
from assay.training.checkpoints import Checkpoints
from assay.training.images import Images, batches
from assay.training.interrupts import Request, stop_request
from assay.training.objective import Batch, make_objective, placed_needs
from assay.training.optimisation import Optimisation
from assay.training.reproducible import reproducible
from assay.training.result import TrainingResult, on_cpu
from assay.training.settings import complete, phases

log = logging.getLogger(__name__)


@dataclass
class _Progress:
    """The progress of a training, beside its weights; plain values, as checkpoints hold them.

    Attributes:
        epoch: the epoch that runs, from 0.
        position: images of it that are done.
        sums: per part of the loss, the sum over these images.
        seconds: time spent on this epoch so far.
        history: rows of finished epochs.
        best_epoch, best_accuracy: of the best weights of this phase so far.
        phase: the phase that runs, from 0.
        phase_began: the first epoch of it.
        rate: learning rate at the beginning of the epoch.
        updates: batches of finished epochs, each of which has changed the weights.
    """

    epoch: int = 0
    position: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    best_accuracy: float = -math.inf
    phase: int = 0
    phase_began: int = 0
    rate: float = 0.0
    updates: int = 0


def train(
    model: Classifier,
    images: np.ndarray,
    labels: np.ndarray,
    train_indices: np.ndarray,
    val_indices: np.ndarray,
    settings: Mapping[str, Any],
    *,
    work: Path,
    names: Sequence[Any],
    device: torch.device | str = "cpu",
    checkpoint_every_s: float = 60.0,
    needs: Mapping[str, Classifier] | None = None,
) -> TrainingResult:
    """Trains `model` in place.

    An interrupted training resumes at its last checkpoint in `work`, also in the middle of an
    epoch, and ends with the same weights. The result of a finished one is read from there.
    SIGINT and SIGTERM are obeyed after the step that runs, with a checkpoint of it.

    Args:
        model: brings its loss; moved to `device`. Frozen parameters are left alone.
        images: (N, C, H, W) uint8, memory-mapped or not.
        labels: (N,) class indices.
        train_indices: which images train.
        val_indices: which images choose the best weights; may be empty.
        settings: a catalogue entry's ``training``: any of the keys of
            :data:`assay.training.settings.DEFAULTS`. The caps ``samples`` and
            ``validation_samples`` are for whoever chooses the indices.
        work: folder of this training's checkpoints.
        names: what the training is called, seed included; all randomness derives from it.
        device: where to compute.
        checkpoint_every_s: seconds of work that a kill may cost, at most.
        needs: trained models that the objective asks for, by their role (:func:`placed_needs`).

    Raises:
        TrainingError: a setting is impossible, nothing is there to train on, a class that needs
            images has none, the loss is no longer a number, the model reports that it diverges, or
            disk or memory is full. Checkpoints stay.
        ModelError: the model still awaits its weights.
    """
    device = torch.device(device)
    settings = complete(settings)
    names = tuple(map(str, names))
    model.require_weights()
    _check_classes(model, np.asarray(labels)[train_indices], names)
    sizes = [len(train_indices), len(val_indices)]
    checkpoints = Checkpoints(work, _identity(model, settings, names, sizes))
    try:
        training = _Training(
            placed(model, device),
            Images.take(images, labels, train_indices, device),
            Images.take(images, labels, val_indices, device),
            settings,
            names,
            device,
            checkpoints,
            checkpoint_every_s,
            placed_needs(needs or {}, model, device),
        )
        with reproducible(device), stop_request() as request:
            return training.run(request)
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"{device} has not enough memory",
            where="/".join(names),
            remedy="lower training.batch_size or training.samples of the model",
        ) from error


class _Training:
    """One training under way."""

    def __init__(
        self,
        model: Classifier,
        train_images: Images,
        val_images: Images,
        settings: Mapping[str, Any],
        names: tuple[str, ...],
        device: torch.device,
        checkpoints: Checkpoints,
        checkpoint_every_s: float,
        needs: Mapping[str, Classifier],
    ):
        if not len(train_images):
            raise TrainingError("there is no image to train on", where="/".join(names))
        self.model, self.train_images, self.val_images = model, train_images, val_images
        self.settings, self.names, self.device = settings, names, device
        self.checkpoints, self.checkpoint_every_s = checkpoints, checkpoint_every_s
        self.phases, self.needs = phases(settings), needs
        self.batches: list[tuple[int, int]] = []
        self.at = _Progress()
        self.best_state: dict[str, Tensor] = {}
        self.generator = torch.Generator(device)
        self._prepare_phase()

    def run(self, request: Request) -> TrainingResult:
        finished = self._restore()
        epochs, size = sum(phase["epochs"] for phase in self.phases), len(self.train_images)
        bar = progress(
            total=epochs * size,
            initial=self.at.epoch * size + self.at.position,
            desc=f"train {'/'.join(self.names)}",
            unit="image",
        )
        saved = time.monotonic()
        with bar:
            while not finished:
                if self._phase_is_over():
                    self.optimisation.finish()
                    finished = not self._next_phase()
                    continue
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

    def _phase_is_over(self) -> bool:
        """Whether all its epochs are done, or `patience` ones have passed without a better
        validation accuracy.
        """
        at, patience = self.at, self.phase["patience"]
        exhausted = patience is not None and at.epoch - at.best_epoch > patience
        return exhausted or at.epoch - at.phase_began >= self.phase["epochs"]

    def _next_phase(self) -> bool:
        """Goes on to the next phase, from the weights of this one; False: there is none."""
        at = self.at
        if at.phase + 1 == len(self.phases):
            return False
        at.phase, at.phase_began = at.phase + 1, at.epoch
        at.best_epoch, at.best_accuracy = at.epoch - 1, -math.inf
        self._prepare_phase()
        return True

    def _prepare_phase(self) -> None:
        """What the phase that runs works with, as at its beginning."""
        self.phase = self.phases[self.at.phase]
        self.batches = batches(len(self.train_images), self.phase["batch_size"])
        self.augment = augmentations(self.phase["augment"])
        self.objective = make_objective(
            self.phase["objective"], self.phase["adversary"], self.needs
        )
        try:
            self.optimisation = Optimisation(
                self.model,
                self.objective,
                self.phase,
                steps_per_epoch=len(self.batches),
                device=self.device,
            )
        except TrainingError as error:
            where = error.where or "/".join(self.names)
            raise TrainingError(error.what, where=where, remedy=error.remedy) from error

    def _epoch(self) -> Iterator[tuple[int, int, dict[str, Tensor]]]:
        """Runs the rest of the current epoch.

        Yields:
            After each batch: its first and last (excluded) position and the sums of the loss's
            parts so far, still on the device.
        """
        at, size = self.at, len(self.train_images)
        if not at.position:
            at.rate = self.optimisation.rate
        order = torch.randperm(
            size, generator=torch.Generator().manual_seed(seed_for("order", *self.names, at.epoch))
        ).to(self.device)
        began = time.monotonic() - at.seconds
        totals = {
            name: torch.tensor(value, dtype=torch.float64, device=self.device)
            for name, value in at.sums.items()
        }
        self.model.train()
        for start, stop in self.batches:
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
                f"{trouble} in epoch {at.epoch} at learning rate {at.rate:g}",
                where="/".join(self.names),
                remedy="lower training.optimizer.lr of the model; the last checkpoint is kept",
            )
        self._finish_epoch(means, began)

    def _step(self, chosen: Tensor, start: int) -> dict[str, Tensor]:
        """One update on the images at `chosen`; returns the parts of their loss, each (B,)."""
        seed = seed_for("batch", *self.names, self.at.epoch, start)
        self.generator.manual_seed(seed)
        torch.manual_seed(seed)
        pixels, labels = self.train_images.batch(chosen)
        for augmentation in self.augment:
            pixels = augmentation(pixels, self.generator)
        return self.optimisation.step(Batch(pixels, labels, self.generator, self.at.epoch))

    def _finish_epoch(self, means: dict[str, float], began: float) -> None:
        at = self.at
        validation = self._validate()
        accuracy = validation.get("accuracy", math.nan)
        # Not-a-number compares as False: without validation the latest weights are the best.
        if not accuracy < at.best_accuracy:
            at.best_epoch = at.epoch
            at.best_accuracy = accuracy if len(self.val_images) else -math.inf
            self.best_state = on_cpu(self.optimisation.evaluated.state_dict())
        at.history.append(
            {
                "epoch": at.epoch,
                "train_loss": means["total"] * self._unit,
                "val_loss": validation.get("total", math.nan) * self._unit,
                "train_accuracy": means.get("accuracy", math.nan),
                "val_accuracy": accuracy,
                "learning_rate": at.rate,
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
        at.updates += len(self.batches)
        self.optimisation.end_epoch()

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Mean of each part of the loss over the validation images, in evaluation mode.

        The noise is the same after every epoch, so that epochs are compared on equal terms.
        """
        if not len(self.val_images):
            return {}
        model = self.optimisation.evaluated.eval()
        self.generator.manual_seed(seed_for("validation", *self.names))
        totals: dict[str, Tensor] = {}
        size = min(self.phase["batch_size"], model.max_batch)
        for start, stop in batches(len(self.val_images), size):
            pixels, labels = self.val_images.batch(slice(start, stop))
            parts = self.objective.validate(model, pixels, labels, self.generator)
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
            "optimiser": None if last else self.optimisation.state_dict(),
            "best": self.best_state,
            "at": asdict(self.at),
        }
        step = self.at.epoch * len(self.train_images) + position
        self.checkpoints.save(content, step, alone=last)

    def _restore(self) -> bool:
        """Goes on where a checkpoint was written; returns whether the training had ended."""
        content = self.checkpoints.load(self.device)
        if content is None:
            return False
        self.at = _Progress(**content["at"])
        self.model.load_state_dict(content["model"])
        self._prepare_phase()
        finished = content["optimiser"] is None
        if not finished:
            self.optimisation.load_state_dict(content["optimiser"])
        self.best_state = on_cpu(content["best"])
        log.info(
            "%s goes on at epoch %d, image %d",
            "/".join(self.names),
            self.at.epoch,
            self.at.position,
        )
        return finished

    def _finite(self, totals: dict[str, Tensor]) -> dict[str, float]:
        """`totals` as numbers; the one place where the host waits for the device.

        Raises:
            TrainingError: the loss is not a number; checkpoints from before it was stay.
        """
        numbers = {name: value.item() for name, value in totals.items()}
        if not math.isfinite(numbers.get("total", 0.0)):
            raise TrainingError(
                f"the loss is NaN or infinite in epoch {self.at.epoch} "
                f"at learning rate {self.optimisation.rate:g}",
                where="/".join(self.names),
                remedy="lower training.optimizer.lr of the model",
            )
        return numbers

    @property
    def _unit(self) -> int:
        """Images that the reported loss is a sum over.

        Phases may differ in what they minimise and in their batches, so theirs is per image.
        """
        whole = self.objective.loss_is_a_sum and not self.settings["phases"]
        return self.phase["batch_size"] if whole else 1

    def _result(self) -> TrainingResult:
        at = self.at
        history = pd.DataFrame(at.history)
        return TrainingResult(
            self.best_state,
            on_cpu(self.model.state_dict()),
            history,
            {
                **self.model.facts(),
                "train_n": len(self.train_images),
                "val_n": len(self.val_images),
                "epochs": at.epoch,
                "updates": at.updates,
                "best_epoch": at.best_epoch,
                "best_val_accuracy": at.best_accuracy if len(self.val_images) else None,
                "training": dict(self.settings),
                "loss_per": "batch" if self._unit > 1 else "image",
                "seconds": float(history["seconds"].sum()),
                "device": str(self.device),
                "threads": torch.get_num_threads(),
            },
        )


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
