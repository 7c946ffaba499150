"""Victim x images x suite -> outcomes, resumable chunk by chunk.

A chunk of images under one attack is the unit of work: it is computed from seeds that derive from
names, stored in one atomic file, and reused when code, settings, victim and images are unchanged. A
killed job resumes at its first missing chunk; an edit to one attack recomputes only that attack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from assay.attacks.attack import Attack
from assay.attacks.catalogue import make_attack
from assay.attacks.routes import EACH
from assay.attacks.victim import Victim
from assay.data.splits import subsample
from assay.evaluation.adversarials import NONE, chosen_adversarials
from assay.evaluation.chunks import (
    MemberStates,
    Part,
    adversarials_path,
    load_chunk,
    pieces_of,
    store_chunk,
)
from assay.evaluation.outcome_rows import outcome_rows
from assay.evaluation.samples import in_turn
from assay.evaluation.source import Source, within_memory
from assay.foundation.errors import AttackError
from assay.foundation.files import digest_of
from assay.foundation.outcomes import OUTCOME_COLUMNS
from assay.foundation.progress import progress
from assay.foundation.seeds import seed_for


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
    keep_adversarials: str = NONE,
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
            of a larger one, ``routes``: ``worst`` or ``each``), each with its ``name`` and the
            digest of its ``code``.
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
        keep_adversarials: ``none``; ``misclassified``: images that an attack changed and that are
            misclassified; ``all``: of all rows. They are kept beside the chunks.

    Returns:
        Outcome rows in the schema's columns, and arrays for an ``.npz`` file: ``labels`` (n,),
        ``samples`` (n,), ``clean/images`` (n, C, H, W) float16, ``clean/predictions`` (1, n),
        ``clean/epsilons`` (1,), and per attack ``<attack>/images`` (E, n, C, H, W) float16,
        ``<attack>/predictions`` (E, n) and ``<attack>/epsilons`` (E,). Where a cap keeps an attack
        from an example, its images there are NaN and its predictions -1.
        Of a share: the rows of its chunks, none where there are more shares than chunks.
        ``attrs["audit"]`` of the rows holds the measurements of the victim before the first attack,
        see :func:`assay.evaluation.findings.audit`, and ``attrs["adversarials"]`` the files of the
        images that are kept, by attack, for
        :func:`assay.evaluation.adversarials.write_adversarials`.

    Raises:
        AttackError: an attack cannot work on this victim or these images, the victim is not what it
            declares, or even a single image does not fit into memory.
    """
    indices = np.sort(np.asarray(indices, dtype=np.int64))
    if not len(indices):
        raise AttackError("there is no image to evaluate", where=f"suite '{ids['suite']}'")
    source = Source(
        victim, images, np.asarray(labels), indices, ids, chunk, repeats, seed, key, work.parent
    )
    made = [(entry, make_attack(entry)) for entry in attacks]
    chosen = [
        subsample(indices, labels, entry.get("samples"), seed=seed_for("cap", seed, ids["dataset"]))
        for entry, _ in made
    ]
    fewest = min(chosen, key=len, default=indices)
    shown = np.sort(in_turn(fewest, source.labels)[:examples])
    kept: dict[str, list[str]] = {}
    frames, arrays = [], {"samples": shown, "labels": source.labels[shown]}
    turn = count()
    pieces = [
        [
            (number, rows)
            for number, rows in enumerate(pieces_of(mine, chunk))
            if share is None or next(turn) % share[1] == share[0]
        ]
        for mine in chosen
    ]
    total = sum(len(rows) for part in pieces for _, rows in part)
    with progress(total=total, desc=ids["suite"], unit="image") as bar:
        for (entry, attack), mine, todo in zip(made, chosen, pieces, strict=True):
            bar.set_postfix_str(entry["name"])
            digest = _digest(entry, source, mine, shown, key, keep_adversarials)
            folder = work / f"{entry['name']}_{digest}"
            pictures, predicted = _blank(len(entry["epsilons"]), len(shown), victim.shape)
            for number, rows in todo:
                part = load_chunk(folder, number, rows, keep_adversarials)
                if part is None:
                    stages = MemberStates(folder, number)
                    part = _attack_chunk(
                        source, attack, entry, number, rows, shown, stages, keep_adversarials
                    )
                    store_chunk(folder, number, part)
                    stages.clear()
                if keep_adversarials != NONE:
                    path = str(adversarials_path(folder, number))
                    kept.setdefault(entry["name"], []).append(path)
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
    outcomes.attrs["adversarials"] = kept
    if share is not None:
        return outcomes, arrays
    decided = outcomes.drop_duplicates("sample").set_index("sample")["clean_prediction"]
    arrays["clean/images"] = source.batch(shown)[0].half().cpu().numpy()
    arrays["clean/predictions"] = decided[shown].to_numpy(np.int64)[None]
    arrays["clean/epsilons"] = np.zeros(1)
    return outcomes, arrays


def _attack_chunk(
    source: Source,
    attack: Attack,
    entry: Mapping[str, Any],
    number: int,
    rows: np.ndarray,
    shown: np.ndarray,
    stages: MemberStates,
    keep: str,
) -> Part:
    found = within_memory(source.victim, source.attack, attack, entry, number, rows, stages)
    names = {**source.ids, "attack": entry["name"], "norm": attack.norm}
    labels, worst = source.labels[rows], found[""]
    frames = [
        outcome_rows(result, rows, labels, {**names, "route": route})
        for route, result in found.items()
    ]
    places = np.flatnonzero(np.isin(rows, shown))
    where = torch.from_numpy(places).to(worst.images.device)
    return Part(
        pd.concat(frames, ignore_index=True),
        rows[places],
        worst.images[:, where].half().cpu().numpy(),
        worst.prediction[:, where].cpu().numpy(),
        None if keep == NONE else chosen_adversarials(found, rows, labels, keep),
    )


def _blank(budgets: int, n: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    images = np.full((budgets, n, *shape), np.nan, dtype=np.float16)
    return images, np.full((budgets, n), -1, dtype=np.int64)


def _digest(
    entry: Mapping[str, Any],
    source: Source,
    mine: np.ndarray,
    shown: np.ndarray,
    key: str,
    keep: str,
) -> str:
    decisive = {
        part: entry.get(part) for part in ("implementation", "settings", "epsilons", "code")
    }
    if entry.get("routes") == EACH:
        decisive["routes"] = EACH
    if keep != NONE:
        decisive["keep_adversarials"] = keep
    facts = {"key": key, "ids": source.ids, "chunk": source.chunk, "repeats": source.repeats}
    chosen = {"samples": mine.tolist(), "shown": shown.tolist(), "seed": source.seed}
    return digest_of({**decisive, **facts, **chosen})
