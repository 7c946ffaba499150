"""How much leakage inflates accuracy: between split schemes, and within one leaky split.

Both comparisons are of different images, so that nothing is paired: Newcombe's interval for the
difference of two proportions, on as many images as the data are worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy

from assay.analysis.attack_set import AttackSet, attack_sets
from assay.analysis.families import holm
from assay.analysis.newcombe import LEVEL, newcombe, newcombe_p
from assay.analysis.paired import Paired

# What a test image may share with training images, from the strictest reading to the safest.
READINGS = ("duplicate", "patient", "patient_safe")
# Fewer common images than these say nothing.
FEWEST_COMMON = 10
KEYS = ["dataset", "model", "suite", "attack", "worst_case", "norm", "epsilon"]
RESAMPLED, NEWCOMBE = "corrected resampled t (Welch)", "Newcombe"


def leaked_differences(
    paired: Paired,
    leaks: pd.DataFrame,
    train_sizes: Mapping[tuple[str, str, str], int],
    *,
    schemes: Sequence[str],
    models: Sequence[str],
    cells: Sequence[tuple[AttackSet, float]],
) -> pd.DataFrame:
    """Accuracy on test images that have a relative in training against those that have none.

    Both kinds are tested by the same network of the same split, so that nothing differs but the
    images. As classes differ in how many of their images leak and in how hard they are, images are
    compared within their class and split: a class of a split weighs n1 n0 / (n1 + n0) (Mantel and
    Haenszel's weight of a difference). Each side's weighted accuracy is worth as many independent
    images as have its variance, divided by two factors that are at least 1:

    - how much larger the variance is because images of one patient are alike, and because random
      splits test an image several times (a design effect: the sum of the squares of the
      persons' residuals over that of the images');
    - with several splits, how much more their differences vary than so many images let expect
      (Cochran's Q over its degrees of freedom).

    Args:
        paired: decisions of the models.
        leaks: rows of ``leaks.parquet`` with ``dataset`` and ``split`` (see
            :func:`assay.data.leaks.leaks`).
        train_sizes: training images by (dataset, split, model): a network has seen a relative of
            an image if it stands among so many of the split's training images.
        schemes: split schemes that are looked at.
        models: whose decisions.
        cells: (attack set, epsilon) pairs.

    Returns:
        One row per data set, scheme, model, attack, epsilon and `shared` (duplicate, patient,
        patient_safe) with leaked and unleaked images of a class: splits, n_leaked, n_unleaked
        (images, summed over splits, of classes and splits that have both), accuracy_leaked,
        accuracy_unleaked (weighted), difference (leaked - unleaked) with its 95 % interval low and
        high (Newcombe's), p, design (product of both factors), and holm_p over all rows.
    """
    rows = []
    for place, own in _cells(paired, schemes, cells):
        known = paired.cells.iloc[own]
        here = leaks[leaks.dataset == place["dataset"]]
        for model in models:
            if model not in paired.models:
                continue
            right = paired.right[:, paired.models.index(model)]
            parts = []
            for index, split in zip(own, known["split"], strict=True):
                images = (paired.cell == index) & (right >= 0)
                trained = train_sizes.get((place["dataset"], split, model))
                if not images.any() or trained is None:
                    continue
                tested = pd.DataFrame({"sample": paired.sample[images], "right": right[images]})
                flags = here[here["split"] == split].drop(columns=["dataset"])
                parts.append(tested.merge(flags, on="sample").assign(trained=trained))
            if not parts:
                continue
            table = pd.concat(parts, ignore_index=True)
            rows += [
                {**place, "model": model, "shared": reading, **found}
                for reading in READINGS
                if (found := _compared(table, reading)) is not None
            ]
    names = [
        *KEYS[:1], "scheme", *KEYS[1:], "shared", "splits", "n_leaked", "n_unleaked",
        "accuracy_leaked", "accuracy_unleaked", "difference", "low", "high", "p", "design",
    ]  # fmt: skip
    return _corrected(rows, names)


def _corrected(rows: Sequence[Mapping[str, object]], names: Sequence[str]) -> pd.DataFrame:
    """The rows as a frame whose numbers are numbers, also where there is none, with Holm's p."""
    words = {*KEYS, "scheme", "baseline", "method", "shared"} - {"epsilon"}
    frame = pd.DataFrame(rows, columns=list(names))
    frame = frame.astype({name: float for name in names if name not in words and not rows})
    return frame.assign(holm_p=holm(frame.p.to_numpy(float)))


def _compared(table: pd.DataFrame, reading: str) -> dict[str, float] | None:
    """The comparison of one model in one cell by one reading; None where nothing can be said."""
    table = table[table[reading].notna()]
    leaked = (table[f"{reading}_first"] < table.trained).fillna(value=False).to_numpy(bool)
    stratum = table.groupby(["split", "label"], sort=False).ngroup().to_numpy()
    counts = np.stack(
        [
            np.bincount(stratum[side], minlength=stratum.max(initial=-1) + 1)
            for side in (leaked, ~leaked)
        ]
    ).astype(float)
    both = np.all(counts > 0, axis=0)
    if not both.any():
        return None
    kept = both[stratum]
    table, leaked, stratum = table[kept], leaked[kept], stratum[kept]
    with np.errstate(invalid="ignore"):
        weight = np.where(both, counts.prod(axis=0) / counts.sum(axis=0), 0.0)
    weight /= weight.sum()
    side = np.where(leaked, 0, 1)
    share = weight[stratum] / counts[side, stratum]  # of each image in its side's accuracy
    right = table.right.to_numpy(float)
    means = _means(right, stratum, side, counts)
    # Rounded weights may sum to more than 1, and an interval exists for proportions only.
    accuracy = [min(float((share * right)[side == k].sum()), 1.0) for k in (0, 1)]
    worth = [1 / float((share[side == k] ** 2).sum()) for k in (0, 1)]
    sign = np.where(leaked, 1.0, -1.0)
    residual = sign * share * (right - means[side, stratum])
    design = _design(residual, share, _relatives(table)) * _overdispersion(
        table, leaked, stratum, weight, counts
    )
    worth = [max(n / design, 1.0) for n in worth]
    low, high = newcombe(accuracy[0], worth[0], accuracy[1], worth[1])
    return {
        "splits": table["split"].nunique(),
        "n_leaked": int(leaked.sum()),
        "n_unleaked": int((~leaked).sum()),
        "accuracy_leaked": accuracy[0],
        "accuracy_unleaked": accuracy[1],
        "difference": accuracy[0] - accuracy[1],
        "low": low,
        "high": high,
        "p": newcombe_p(accuracy[0], worth[0], accuracy[1], worth[1]),
        "design": design,
    }


def _means(
    right: np.ndarray, stratum: np.ndarray, side: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """(2, strata) accuracy of leaked and unleaked images of each stratum; 0 where there is none."""
    total = np.zeros_like(counts)
    np.add.at(total, (side, stratum), right)
    return np.divide(total, counts, out=np.zeros_like(total), where=counts > 0)


def _relatives(table: pd.DataFrame) -> np.ndarray:
    """(R,) numbers of what must be drawn together: a person, or else an image and its copies."""
    relative = table.duplicate.astype("string").radd("image ")
    for name in ("patient", "patient_safe"):
        known = table[name].notna()
        relative = relative.mask(known, table[name].astype("string").radd(f"{name} "))
    return pd.factorize(relative)[0]


def _design(residual: np.ndarray, share: np.ndarray, relative: np.ndarray) -> float:
    """How much larger the variance is since images of one person are alike; at least 1.

    Two means of few persons leave residuals that are too small: hence the factor G / (G - 2) for G
    persons. Where no residual varies (all images right), as if images of one person were all alike.
    """
    persons = relative.max() + 1
    if persons == len(relative):
        return 1.0
    independent = float((residual**2).sum())
    if independent > 0 and persons > 2:
        between = float((np.bincount(relative, residual) ** 2).sum())
        return max(between / independent * persons / (persons - 2), 1.0)
    return max(float((np.bincount(relative, share) ** 2).sum() / (share**2).sum()), 1.0)


def _overdispersion(
    table: pd.DataFrame,
    leaked: np.ndarray,
    stratum: np.ndarray,
    weight: np.ndarray,
    counts: np.ndarray,
) -> float:
    """Cochran's Q of the splits' differences over its degrees of freedom; at least 1."""
    right = table.right.to_numpy(float)
    total = np.zeros_like(counts)
    np.add.at(total, (np.where(leaked, 0, 1), stratum), right)
    # Agresti and Caffo's added success and failure: no variance of 0 from a few images.
    share = (total + 1) / (counts + 2)
    variance = (share * (1 - share) / (counts + 2)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        gap = np.where(weight > 0, np.subtract(*(total / counts)), 0.0)
    split_of = np.zeros(len(weight), int)
    split_of[stratum] = pd.factorize(table["split"])[0]
    splits = split_of.max() + 1
    if splits < 2:
        return 1.0
    mass = np.bincount(split_of, weight, splits)
    known = mass > 0
    difference = np.bincount(split_of, weight * gap, splits)[known] / mass[known]
    spread = np.bincount(split_of, weight**2 * variance, splits)[known] / mass[known] ** 2
    if known.sum() < 2:
        return 1.0
    mean = (difference / spread).sum() / (1 / spread).sum()
    return max(float(((difference - mean) ** 2 / spread).sum() / (known.sum() - 1)), 1.0)


def scheme_differences(
    paired: Paired,
    train_sizes: Mapping[tuple[str, str, str], int],
    *,
    schemes: Sequence[str],
    models: Sequence[str],
    cells: Sequence[tuple[AttackSet, float]],
    leaks: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Accuracy under the first of some split schemes less that under each of the others.

    Other networks are trained and other images tested, so that nothing is paired. With two or more
    splits of both schemes the splits are what chance draws: a Welch test of the mean accuracies
    over splits, whose variances are Nadeau and Bengio's, (1 / J + n_test / n_train) s², since
    training sets overlap. Where either scheme has one split, or the accuracies of neither vary,
    Newcombe's interval of the images is all that there is, and says nothing of other networks.

    Beside it the images that both schemes tested are compared with themselves: the mean over them
    of the difference of the shares of splits in which they were right, with an interval and a
    t-test whose units are persons where they are known, else images.

    Args:
        paired: decisions of the models.
        train_sizes: training images by (dataset, split, model).
        schemes: the first is what the others are compared with.
        models: whose decisions.
        cells: (attack set, epsilon) pairs.
        leaks: rows of ``leaks.parquet``, which know the persons.

    Returns:
        One row per data set, model, attack, epsilon and other scheme: scheme, baseline, method,
        splits, baseline_splits, n, baseline_n (images, summed over splits), difference (baseline -
        scheme, positive where the baseline looks better) with its 95 % interval low, high, p; the
        same of common images (common_n, common_difference, common_low, common_high, common_p, NaN
        with fewer than :data:`FEWEST_COMMON`); holm_p over all rows.
    """
    rows = []
    for place, own in _cells(paired, schemes, cells, together=True):
        known = paired.cells.iloc[own]
        for model in (name for name in models if name in paired.models):
            right = paired.right[:, paired.models.index(model)]
            mine = np.isin(paired.cell, own) & (right >= 0)
            table = pd.DataFrame(
                {
                    "scheme": known.scheme.reindex(paired.cell[mine]).to_numpy(),
                    "split": known["split"].reindex(paired.cell[mine]).to_numpy(),
                    "sample": paired.sample[mine],
                    "right": right[mine].astype(float),
                }
            )
            for other in schemes[1:]:
                pair = [table[table.scheme == name] for name in (schemes[0], other)]
                if any(part.empty for part in pair):
                    continue
                rows.append(
                    {
                        **place, "model": model, "scheme": other, "baseline": schemes[0],
                        **_between(pair, (place["dataset"], model), train_sizes),
                        **_common(pair, place["dataset"], leaks),
                    }
                )  # fmt: skip
    names = [
        *KEYS, "scheme", "baseline", "method", "splits", "baseline_splits", "n", "baseline_n",
        "difference", "low", "high", "p", "common_n", "common_difference", "common_low",
        "common_high", "common_p",
    ]  # fmt: skip
    return _corrected(rows, names)


def _between(
    pair: Sequence[pd.DataFrame],
    ids: tuple[str, str],
    train_sizes: Mapping[tuple[str, str, str], int],
) -> dict[str, Any]:
    """Two schemes' accuracies of one model in one cell."""
    splits = [part.groupby("split").right.agg(["mean", "size"]) for part in pair]
    means = [float(found["mean"].mean()) for found in splits]
    found: dict[str, Any] = {
        "baseline_splits": len(splits[0]), "splits": len(splits[1]),
        "baseline_n": len(pair[0]), "n": len(pair[1]), "difference": means[0] - means[1],
    }  # fmt: skip
    variances, degrees = [], []
    for table in splits:
        sizes = [train_sizes.get((ids[0], split, ids[1]), np.nan) for split in table.index]
        share = float(np.mean(table["size"].to_numpy() / np.array(sizes, float)))
        spread = table["mean"].var(ddof=1) if len(table) > 1 else np.nan
        variances.append((1 / len(table) + share) * spread)
        degrees.append(len(table) - 1)
    variance = sum(variances)
    if variance > 0:
        deviation = np.sqrt(variance)
        freedom = variance**2 / sum(
            own**2 / count for own, count in zip(variances, degrees, strict=True)
        )
        half = scipy.stats.t.isf((1 - LEVEL) / 2, freedom) * deviation
        return found | {
            "method": RESAMPLED,
            "low": max(found["difference"] - half, -1.0),
            "high": min(found["difference"] + half, 1.0),
            "p": float(2 * scipy.stats.t.sf(abs(found["difference"]) / deviation, freedom)),
        }
    # Repeated splits test an image several times: distinct images count.
    counts = [part["sample"].nunique() for part in pair]
    low, high = newcombe(means[0], counts[0], means[1], counts[1])
    p = newcombe_p(means[0], counts[0], means[1], counts[1])
    return found | {"method": NEWCOMBE, "low": low, "high": high, "p": p}


def _common(
    pair: Sequence[pd.DataFrame], dataset: str, leaks: pd.DataFrame | None
) -> dict[str, float]:
    """The images that two schemes tested, with themselves."""
    means = [part.groupby("sample").right.mean() for part in pair]
    gaps = (means[0] - means[1]).dropna()
    found = {"common_n": len(gaps)}
    found |= dict.fromkeys(
        ("common_difference", "common_low", "common_high", "common_p"), float("nan")
    )
    if len(gaps) < FEWEST_COMMON:
        return found
    mean = float(gaps.mean())
    found["common_difference"] = mean
    unit = _persons(gaps.index.to_numpy(), dataset, leaks)
    count = unit.max() + 1
    residuals = np.bincount(unit, gaps.to_numpy() - mean)
    variance = count / max(count - 1, 1) * float((residuals**2).sum()) / len(gaps) ** 2
    if count < 2 or variance <= 0:
        return found
    deviation = np.sqrt(variance)
    half = scipy.stats.t.isf((1 - LEVEL) / 2, count - 1) * deviation
    return found | {
        "common_low": max(mean - half, -1.0),
        "common_high": min(mean + half, 1.0),
        "common_p": float(2 * scipy.stats.t.sf(abs(mean) / deviation, count - 1)),
    }


def _persons(samples: np.ndarray, dataset: str, leaks: pd.DataFrame | None) -> np.ndarray:
    """(N,) numbers of the images' persons, of the images themselves where nobody knows."""
    if leaks is None or leaks.empty:
        return np.arange(len(samples))
    own = leaks[leaks.dataset == dataset].drop_duplicates("sample").set_index("sample")
    own = own.reindex(samples)
    if own.duplicate.isna().any():
        return np.arange(len(samples))
    return _relatives(own)


def _cells(
    paired: Paired,
    schemes: Sequence[str],
    cells: Sequence[tuple[AttackSet, float]],
    *,
    together: bool = False,
) -> list[tuple[dict[str, Any], np.ndarray]]:
    """The wanted cells, each with its ids and the rows of ``paired.cells`` of its splits.

    Args:
        paired: decisions.
        schemes: wanted ones.
        cells: wanted (attack set, epsilon) pairs, in the order in which they come back.
        together: the schemes are one cell, and not among its ids.
    """
    table = paired.cells
    wanted = {cell: place for place, cell in enumerate(cells)}
    under = attack_sets(table)
    order = np.array([wanted.get(cell, -1) for cell in zip(under, table.epsilon, strict=True)], int)
    chosen = table.assign(order=order)[(order >= 0) & table.scheme.isin(schemes).to_numpy()]
    names = [
        name for name in ("dataset", "scheme", *KEYS[2:]) if not (together and name == "scheme")
    ]
    chosen = chosen.sort_values("order", kind="stable")
    rows = np.bincount(paired.cell, minlength=len(table))
    found: dict[tuple, tuple[dict[str, Any], np.ndarray]] = {}
    for ids, own in chosen.groupby(names, observed=True, sort=False):
        place, index = dict(zip(names, ids, strict=True)), own.index.to_numpy()
        where = tuple(place[name] for name in ("dataset", "scheme") if name in place)
        key = (*where, under[index[0]], place["epsilon"])
        # Of an attack that stands in two suites the one on more images is looked at.
        if key not in found or rows[index].sum() > rows[found[key][1]].sum():
            found[key] = place, index
    return list(found.values())
