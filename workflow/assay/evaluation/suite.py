"""Victim x images x suite -> outcomes, resumable chunk by chunk.

A chunk of images under one attack is the unit of work: it is computed from seeds that derive from
names, stored in one atomic file, and reused when code, settings, victim and images are unchanged. A
killed job resumes at its first missing chunk; an edit to one attack recomputes only that attack.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from assay.attacks.attack import Attack
from assay.attacks.catalogue import make_attack
from assay.attacks.ensemble import Ensemble
from assay.attacks.prediction import Prediction, evaluate_images
from assay.attacks.result import Perturbed
from assay.attacks.torch_state import seeded
from assay.attacks.victim import Victim
from assay.data.splits import subsample
from assay.evaluation.inspection import IMAGES, audit, inspect_victim
from assay.foundation.errors import AttackError, OutcomeError
from assay.foundation.files import atomic_path, digest_of, read_json, write_json
from assay.foundation.outcomes import OUTCOME_COLUMNS, read_outcomes, write_outcomes
from assay.foundation.progress import progress
from assay.foundation.seeds import seed_for

log = logging.getLogger(__name__)
Result = TypeVar("Result")


def run_suite(
    victim: Victim,
    images: np.ndarray,
    labels: np.ndarray,
    indices: np.ndarray,
    attacks: Sequence[Mapping[str, Any]],
    *,
    ids: Mapping[str, str],
    work: Path,
    chunk: int,
    repeats: int,
    examples: int,
    key: str,
    seed: int = 0,
    share: tuple[int, int] | None = None,
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Attacks a victim with every attack of a suite.

    Every attack sees the same decisions on the unperturbed images, and every suite of one model
    too, since they are seeded without the suite's name.

    Args:
        victim: what is attacked.
        images: (N, C, H, W) uint8, a memory map as a rule; only a chunk of it is read at a time.
        labels: (N,) classes.
        indices: (n,) which images are evaluated.
        attacks: catalogue entries (``implementation``, ``settings``, ``norm``, ``epsilons``,
            ``samples``: a cap or None; caps are nested, the images of a smaller one are among those
            of a larger one), each with its ``name`` and the digest of its ``code``.
        ids: ``dataset``, ``split``, ``model`` and ``suite``, for the rows and the seeds.
        work: folder for finished chunks; beside it lies what suites of one model share.
        chunk: images per chunk; with the epsilons it decides the memory that is needed.
        repeats: repeated evaluations per image of a stochastic victim.
        examples: images whose perturbed versions are returned; all attacks show the same ones,
            one of each class in turn, of those that every attack of the suite is given.
        key: digest of all that decides an outcome besides the attack: weights, data, code.
        seed: of the whole run.
        share: (i, n), to do the i-th of n shares of the chunks, from 0, and leave the others to
            jobs elsewhere: a job without a share that follows them finds all chunks in `work`.

    Returns:
        Outcome rows in the schema's columns, and arrays for an ``.npz`` file: ``labels`` (n,),
        ``samples`` (n,), ``clean/images`` (n, C, H, W) float16, ``clean/predictions`` (1, n),
        ``clean/epsilons`` (1,), and per attack ``<attack>/images`` (E, n, C, H, W) float16,
        ``<attack>/predictions`` (E, n) and ``<attack>/epsilons`` (E,). Where a cap keeps an attack
        from an example, its images there are NaN and its predictions -1.
        Of a share: the rows of its chunks, none where there are more shares than chunks.
        ``attrs["audit"]`` of the rows holds the measurements of the victim before the first attack,
        see :func:`assay.evaluation.inspection.audit`.

    Raises:
        AttackError: an attack cannot work on this victim or these images, the victim is not what it
            declares, or even a single image does not fit into memory.
    """
    indices = np.sort(np.asarray(indices, dtype=np.int64))
    if not len(indices):
        raise AttackError("there is no image to evaluate", where=f"suite '{ids['suite']}'")
    source = _Source(
        victim, images, np.asarray(labels), indices, ids, chunk, repeats, seed, key, work.parent
    )
    made = [(entry, make_attack(entry)) for entry in attacks]
    chosen = [
        subsample(indices, labels, entry.get("samples"), seed=seed_for("cap", seed, ids["dataset"]))
        for entry, _ in made
    ]
    shown = in_turn(min(chosen, key=len, default=indices), source.labels, examples)
    frames, arrays = [], {"samples": shown, "labels": source.labels[shown]}
    turn = count()
    pieces = [
        [
            (number, rows)
            for number, rows in enumerate(_pieces(mine, chunk))
            if share is None or next(turn) % share[1] == share[0]
        ]
        for mine in chosen
    ]
    total = sum(len(rows) for part in pieces for _, rows in part)
    with progress(total=total, desc=ids["suite"], unit="image") as bar:
        for (entry, attack), mine, todo in zip(made, chosen, pieces, strict=True):
            bar.set_postfix_str(entry["name"])
            folder = work / f"{entry['name']}_{_digest(entry, source, mine, shown, key)}"
            pictures, predicted = _blank(len(entry["epsilons"]), len(shown), victim.shape)
            for number, rows in todo:
                part = _load_chunk(folder, number, rows, shown)
                if part is None:
                    stages = MemberStates(folder, number)
                    part = _attack_chunk(source, attack, entry, number, rows, shown, stages)
                    _store_chunk(folder, number, part)
                    stages.clear()
                frames.append(part.frame)
                places = np.searchsorted(shown, part.samples)
                pictures[:, places], predicted[:, places] = part.images, part.predictions
                bar.update(len(rows))
            arrays[f"{entry['name']}/images"] = pictures
            arrays[f"{entry['name']}/predictions"] = predicted
            arrays[f"{entry['name']}/epsilons"] = np.asarray(entry["epsilons"], dtype=float)
    if not frames:
        return pd.DataFrame(columns=list(OUTCOME_COLUMNS)), arrays
    outcomes = pd.concat(frames, ignore_index=True)
    outcomes.attrs["audit"] = source.audit()
    if share is not None:
        return outcomes, arrays
    decided = outcomes.drop_duplicates("sample").set_index("sample")["clean_prediction"]
    arrays["clean/images"] = source.batch(shown)[0].half().cpu().numpy()
    arrays["clean/predictions"] = decided[shown].to_numpy(np.int64)[None]
    arrays["clean/epsilons"] = np.zeros(1)
    return outcomes, arrays


class _Part(NamedTuple):
    """One attack on one chunk: its rows, and the perturbed images of the examples among them."""

    frame: pd.DataFrame
    samples: np.ndarray
    images: np.ndarray
    predictions: np.ndarray


class MemberStates:
    """The state of a chunk after each member of an ensemble, until the chunk is finished."""

    def __init__(self, folder: Path, number: int):
        self._folder, self._stem = folder, f"chunk_{number:03d}_after"

    def load(self, member: str) -> Perturbed | None:
        """The state after a member; None where there is none or it cannot be read."""
        path = self._path(member)
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                rest = json.loads(file.metadata()["rest"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            log.warning("%s is damaged and is computed again (%s)", path, error)
            return None
        return Perturbed(**tensors, **{name: tuple(value) for name, value in rest.items()})

    def save(self, member: str, result: Perturbed) -> None:
        """Keeps the state after a member."""
        tensors, rest = {}, {}
        for name, value in vars(result).items():
            (tensors if isinstance(value, torch.Tensor) else rest)[name] = value
        tensors = {name: value.contiguous().cpu() for name, value in tensors.items()}
        with atomic_path(self._path(member)) as path:
            save_file(tensors, path, metadata={"rest": json.dumps(rest)})

    def clear(self) -> None:
        """Removes the states: the chunk itself is kept."""
        for path in self._folder.glob(f"{self._stem}_*"):
            path.unlink()

    def _path(self, member: str) -> Path:
        return self._folder / f"{self._stem}_{member}.safetensors"


class _Source:
    """The images, the victim, and its decisions on the unperturbed images."""

    def __init__(
        self, victim, images, labels, indices, ids, chunk, repeats, seed, key, shared: Path
    ):
        self.victim, self.repeats, self.ids, self.seed = victim, repeats, dict(ids), seed
        self.chunk, self._key, self._shared = chunk, key, shared
        self._images, self.labels, self._indices = images, labels, indices
        self._clean: Prediction | None = None

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Images in [0, 1] and their labels, on the victim's device."""
        pixels = torch.from_numpy(np.ascontiguousarray(self._images[rows]))
        pixels = pixels.to(self.victim.device).float().div_(255)
        return pixels, torch.from_numpy(self.labels[rows].astype(np.int64)).to(pixels.device)

    @contextmanager
    def randomness(self, *names: object) -> Iterator[torch.Generator]:
        """The randomness of one piece of work, derived from its name only.

        Models take theirs from the generator. The global generators of torch, NumPy and Python are
        seeded in the same way.
        """
        parts = (self.ids[part] for part in ("dataset", "split", "model"))
        number = seed_for("attack", self.seed, *parts, *names)
        with seeded(number, self.victim.device):
            yield torch.Generator(device=self.victim.device).manual_seed(number)

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
        if not path.exists():
            self._inspect()
        return read_json(path)

    def _inspect(self) -> None:
        """Measures the victim once for all suites of the model, before anything else."""
        few = self._indices[np.linspace(0, len(self._indices) - 1, IMAGES).round().astype(int)]
        pixels, _ = self.batch(np.unique(few))
        found = _within_memory(self.victim, inspect_victim, self.victim, pixels, self.seed)
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
        for number, piece in enumerate(_pieces(self._indices, self.chunk)):
            pixels, labels = self.batch(piece)
            parts.append(
                _within_memory(
                    self.victim, self._evaluate_images, pixels, labels, ("clean", number)
                )
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
    ) -> Perturbed:
        """One attack on one chunk, from the chunk's own seed however often it is tried."""
        pixels, labels = self.batch(rows)
        clean = self.clean(rows)
        with self.randomness(entry["name"], number) as generator:
            return attack(
                self.victim,
                pixels,
                labels,
                entry["epsilons"],
                generator,
                repeats=self.repeats,
                clean=clean,
                **({"store": stages} if isinstance(attack, Ensemble) else {}),
            )

    def _evaluate_images(
        self, pixels: torch.Tensor, labels: torch.Tensor, names: tuple
    ) -> Prediction:
        with self.randomness(*names) as generator:
            return evaluate_images(self.victim, pixels, labels, generator, repeats=self.repeats)


def _attack_chunk(
    source: _Source,
    attack: Attack,
    entry: Mapping[str, Any],
    number: int,
    rows: np.ndarray,
    shown: np.ndarray,
    stages: MemberStates,
) -> _Part:
    perturbed = _within_memory(source.victim, source.attack, attack, entry, number, rows, stages)
    names = {**source.ids, "attack": entry["name"], "norm": attack.norm}
    places = np.flatnonzero(np.isin(rows, shown))
    where = torch.from_numpy(places).to(perturbed.images.device)
    return _Part(
        outcome_rows(perturbed, rows, source.labels[rows], names),
        rows[places],
        perturbed.images[:, where].half().cpu().numpy(),
        perturbed.prediction[:, where].cpu().numpy(),
    )


def in_turn(rows: np.ndarray, labels: np.ndarray, n: int) -> np.ndarray:
    """The first `n` images when the classes take turns: one of each, then another of each.

    Args:
        rows: (M,) ascending indices of images.
        labels: (N,) classes of the whole data set.
        n: how many.

    Returns:
        (min(n, M),) indices, ascending.
    """
    label = np.unique(labels[rows], return_inverse=True)[1]
    by_class = np.argsort(label, kind="stable")
    count = np.bincount(label)
    turn = np.empty(len(rows), dtype=np.int64)
    turn[by_class] = np.arange(len(rows)) - np.repeat(count.cumsum() - count, count)
    return np.sort(rows[np.lexsort((label, turn))[:n]])


def outcome_rows(
    perturbed: Perturbed, samples: np.ndarray, labels: np.ndarray, names: Mapping[str, str]
) -> pd.DataFrame:
    """The result of an attack as rows of the outcome schema: by epsilon, then by sample.

    Args:
        perturbed: E epsilons, N images.
        samples: (N,) indices of the images in their data set.
        labels: (N,) classes.
        names: ``dataset``, ``split``, ``model``, ``suite``, ``attack`` and ``norm``.
    """
    budgets, n = len(perturbed.epsilons), len(samples)

    def flat(name: str, dtype: str) -> np.ndarray:
        return getattr(perturbed, name).flatten().cpu().numpy().astype(dtype)

    return pd.DataFrame(
        {
            **names,
            "sample": np.tile(samples, budgets),
            "label": np.tile(labels, budgets).astype("int16"),
            "clean_prediction": np.tile(perturbed.clean_prediction.cpu().numpy(), budgets).astype(
                "int16"
            ),
            "prediction": flat("prediction", "int16"),
            "misclassified": flat("misclassified", "bool"),
            "target": np.tile(perturbed.target.cpu().numpy(), budgets).astype("int16"),
            "misclassified_share": flat("misclassified_share", "float32"),
            "epsilon": np.repeat(np.asarray(perturbed.epsilons, dtype=float), n),
            "linf": flat("linf", "float32"),
            "l2": flat("l2", "float32"),
            "l0": flat("l0", "int32"),
            "view": np.asarray(perturbed.views, dtype=object)[flat("view", "int64")],
            "forwards": flat("forwards", "int32"),
            "backwards": flat("backwards", "int32"),
            "zero_gradients": flat("zero_gradients", "int32"),
            "non_finite": flat("non_finite", "int32"),
            "saturated": flat("saturated", "int32"),
            "log_px": flat("log_px", "float32"),
            "scores": list(perturbed.scores.flatten(0, 1).float().cpu().numpy()),
        }
    )[list(OUTCOME_COLUMNS)]


def _within_memory(victim: Victim, work: Callable[..., Result], *arguments: Any) -> Result:
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


def _digest(entry, source: _Source, mine: np.ndarray, shown: np.ndarray, key: str) -> str:
    decisive = {
        part: entry.get(part) for part in ("implementation", "settings", "epsilons", "code")
    }
    facts = {"key": key, "ids": source.ids, "chunk": source.chunk, "repeats": source.repeats}
    chosen = {"samples": mine.tolist(), "shown": shown.tolist(), "seed": source.seed}
    return digest_of({**decisive, **facts, **chosen})


def _store_chunk(folder: Path, number: int, part: _Part) -> None:
    # The rows come last: a chunk without them was not finished.
    with atomic_path(folder / f"chunk_{number:03d}.npz") as path:
        np.savez(path, samples=part.samples, images=part.images, predictions=part.predictions)
    write_outcomes(part.frame, folder / f"chunk_{number:03d}.parquet", {})


def _load_chunk(folder: Path, number: int, rows: np.ndarray, shown: np.ndarray) -> _Part | None:
    """A finished chunk, or None if there is none or it cannot be what was stored."""
    path = folder / f"chunk_{number:03d}.parquet"
    if not path.exists():
        return None
    try:
        frame = read_outcomes(path)
        with np.load(path.with_suffix(".npz")) as arrays:
            stored = _Part(frame, *(arrays[name] for name in ("samples", "images", "predictions")))
        whole = len(frame) and not len(frame) % len(rows)
        if whole and np.array_equal(frame["sample"][: len(rows)], rows):
            return stored
        log.warning("%s holds other samples than it should and is computed again", path)
    except (OutcomeError, OSError, ValueError, KeyError, BadZipFile) as error:
        log.warning("%s is damaged and is computed again (%s)", path, error)
    return None


def _blank(budgets: int, n: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    images = np.full((budgets, n, *shape), np.nan, dtype=np.float16)
    return images, np.full((budgets, n), -1, dtype=np.int64)


def _pieces(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
