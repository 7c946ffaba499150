"""What the suites of one model share: images, randomness, and the unperturbed predictions."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from assay.attacks.attack import Attack
from assay.attacks.prediction import Prediction, evaluate_images
from assay.attacks.result import Perturbed
from assay.attacks.routes import WORST, attack_routes
from assay.attacks.torch_state import all_seeded
from assay.attacks.victim import Victim
from assay.evaluation.chunks import MemberStates, pieces_of
from assay.evaluation.findings import audit
from assay.evaluation.inspection import IMAGES, inspect_victim
from assay.evaluation.samples import classes_on, on_device
from assay.foundation.errors import AssayError, AttackError
from assay.foundation.files import atomic_path, digest_of, read_json, write_json
from assay.foundation.seeds import seed_for

log = logging.getLogger(__name__)
Result = TypeVar("Result")


class Source:
    """The images, the victim, and its decisions on the unperturbed images.

    Args:
        victim, images, labels, ids, chunk, repeats, key, seed: see
            :func:`assay.evaluation.suite.run_suite`.
        indices: (n,) the evaluated images, ascending.
        shared: the folder that the suites of one model share.
    """

    def __init__(
        self,
        victim: Victim,
        images: np.ndarray,
        labels: np.ndarray,
        indices: np.ndarray,
        ids: Mapping[str, str],
        chunk: int,
        repeats: int,
        seed: int,
        key: str,
        shared: Path,
    ):
        self.victim, self.repeats, self.ids, self.seed = victim, repeats, dict(ids), seed
        self.chunk, self._key, self._shared = chunk, key, shared
        self._images, self.labels, self._indices = images, labels, indices
        self._clean: Prediction | None = None

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Images in [0, 1] and their labels, on the victim's device."""
        device = self.victim.device
        return on_device(self._images[rows], device), classes_on(self.labels[rows], device)

    @contextmanager
    def randomness(self, *names: object) -> Iterator[torch.Generator]:
        """The randomness of one piece of work, derived from its name only.

        Models take theirs from the generator. The global generators of torch, NumPy and Python are
        seeded in the same way.
        """
        parts = (self.ids[part] for part in ("dataset", "split", "model"))
        number = seed_for("attack", self.seed, *parts, *names)
        with all_seeded(number, self.victim.device) as generator:
            yield generator

    def clean(self, rows: np.ndarray) -> Prediction:
        """The predictions for unperturbed images, computed once, on first use.

        They are kept for the model's other suites: a defence that searches at test time needs
        minutes.
        """
        if self._clean is None:
            path = self._path("clean", "safetensors")
            self._clean = self._kept(path)
            if self._clean is None:
                self._inspect()
                self._clean = self._decide()
                with atomic_path(path) as temporary:
                    tensors = {name: value.cpu() for name, value in vars(self._clean).items()}
                    save_file(tensors, temporary)
        where = np.searchsorted(self._indices, rows)
        return self._clean.at(torch.from_numpy(where).to(self.victim.device))

    def audit(self) -> dict[str, Any]:
        """What was measured of the victim; measured now where its chunks came from elsewhere."""
        path = self._path("inspection", "json")
        try:
            return read_json(path)
        except AssayError as error:
            if path.exists():
                log.warning("%s is damaged and is measured again (%s)", path, error)
        self._inspect()
        return read_json(path)

    def _inspect(self) -> None:
        """Measures the victim once for all suites of the model, before anything else."""
        few = self._indices[np.linspace(0, len(self._indices) - 1, IMAGES).round().astype(int)]
        pixels, _ = self.batch(np.unique(few))
        found = within_memory(self.victim, inspect_victim, self.victim, pixels, self.seed)
        findings = found.findings()
        for finding in findings:
            log.info("%s: %s: %s", self.ids["model"], finding.status, finding)
        write_json(self._path("inspection", "json"), audit(found, findings))

    def _path(self, what: str, suffix: str) -> Path:
        """Beside the suites' folders: what all suites of a model share."""
        facts = {**self.ids, "suite": "", "key": self._key, "seed": self.seed}
        sizes = {"chunk": self.chunk, "repeats": self.repeats, "of": self._indices.tolist()}
        return self._shared / f"{what}_{digest_of({**facts, **sizes})}.{suffix}"

    def _decide(self) -> Prediction:
        parts = []
        for number, piece in enumerate(pieces_of(self._indices, self.chunk)):
            pixels, labels = self.batch(piece)
            parts.append(
                within_memory(self.victim, self._evaluate_images, pixels, labels, ("clean", number))
            )
        return Prediction(
            **{
                field.name: torch.cat([getattr(part, field.name) for part in parts])
                for field in dataclasses.fields(Prediction)
            }
        )

    def _kept(self, path: Path) -> Prediction | None:
        if not path.exists():
            return None
        try:
            return Prediction(**load_file(path, device=str(self.victim.device)))
        except (SafetensorError, OSError, TypeError) as error:
            log.warning("%s is damaged and is computed again (%s)", path, error)
            return None

    def attack(
        self,
        attack: Attack,
        entry: Mapping[str, Any],
        number: int,
        rows: np.ndarray,
        stages: MemberStates,
    ) -> dict[str, Perturbed]:
        """One attack on one chunk, from the chunk's own seed however often it is tried.

        Returns:
            The worst case over views, under "", and with ``routes: each`` each view's result.
        """
        pixels, labels = self.batch(rows)
        clean = self.clean(rows)

        def run(victim: Victim, route: str) -> Perturbed:
            with self.randomness(entry["name"], number) as generator:
                return attack(
                    victim,
                    pixels,
                    labels,
                    entry["epsilons"],
                    generator,
                    repeats=self.repeats,
                    clean=clean,
                    store=stages.of_route(route),
                )

        routes = entry.get("routes") or WORST
        return attack_routes(attack, self.victim, labels, routes, self.repeats, run)

    def _evaluate_images(
        self, pixels: torch.Tensor, labels: torch.Tensor, names: tuple
    ) -> Prediction:
        with self.randomness(*names) as generator:
            return evaluate_images(self.victim, pixels, labels, generator, repeats=self.repeats)


def within_memory(victim: Victim, work: Callable[..., Result], *arguments: Any) -> Result:
    """Does `work`, with batches halved for good as often as memory runs out."""
    while True:
        try:
            return work(*arguments)
        except RuntimeError as error:  # torch.OutOfMemoryError is one; the CPU has only the text
            exhausted = isinstance(error, torch.OutOfMemoryError) or any(
                text in str(error) for text in ("can't allocate memory", "not enough memory")
            )
            if not exhausted:
                raise
            if victim.max_batch == 1:
                raise AttackError(
                    "a single image does not fit into memory",
                    where="suite",
                    remedy="lower the scale's evaluation.chunk or use a larger device",
                ) from error
        # Outside the handler: the exception holds the frames, and with them the memory.
        victim.max_batch //= 2
        log.warning("out of memory: going on with batches of %d", victim.max_batch)
        if victim.device.type == "cuda":
            torch.cuda.empty_cache()
