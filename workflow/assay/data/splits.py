"""Splits as tables, and what leaks through them.

A split never separates what belongs together: the *groups* are images with the same pixels, or all
images of a patient (and then identical images of two patients join these patients' groups). Groups
are dealt so that every part has its share of every class.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from assay.foundation.errors import DataError
from assay.foundation.seeds import rng_for, seed_for

log = logging.getLogger(__name__)

TRAIN, VAL, TEST = SUBSETS = ("train", "val", "test")
# Test images beyond the number per class of a scheme: they neither train nor test.
SPARE = "spare"
GROUPS = ("none", "duplicate", "patient", "patient_safe")


def split_count(scheme: Mapping[str, Any]) -> int:
    """How many splits a scheme of ``config/catalogue/splits.yaml`` has."""
    key = {"kfold": "folds", "random": "repeats", "official": None}[scheme["kind"]]
    return scheme[key] if key else 1


def share_of(scheme: Mapping[str, Any], subset: str) -> float:
    """About which share of the images a part has: ``train``, ``val`` or ``test``.

    Of a publisher's own parts the test part is taken for a seventh, as MNIST's is.
    """
    if scheme["kind"] == "random":
        test, val = scheme["test"], scheme["validation"]
    else:
        test = 1 / scheme["folds"] if scheme["kind"] == "kfold" else 1 / 7
        val = (1 - test) * scheme["validation"]
    return {TRAIN: 1 - test - val, VAL: val, TEST: test}[subset]


def make_split(
    samples: pd.DataFrame,
    scheme: Mapping[str, Any],
    index: int,
    *,
    seed: int,
    classes: Sequence[str] | None = None,
) -> pd.DataFrame:
    """One split of a data set.

    Args:
        samples: the table of :class:`assay.data.dataset.Dataset`.
        scheme: an entry of ``config/catalogue/splits.yaml``: `kind` (kfold, random, official),
            `group` (see :func:`group_ids`), and `folds`, `repeats`, `test`, `validation` as the
            kind needs them. `validation` is a share of what is not test for kfold and official,
            and of all images for random. Of the test images `test_per_class` of each class are
            drawn, if it is given, and all of a class that has fewer.
        index: which fold or repeat, from 0.
        seed: the run's seed; the folds of one seed are disjoint.
        classes: names of the classes, for messages.

    Returns:
        Columns `sample` and `subset` (train, val, test, spare), one row per image in the order of
        `samples`.

    Raises:
        DataError: there is no such fold; a class has too few images or groups; patients or
            official parts are required and not known.
    """
    kind = scheme["kind"]
    if not 0 <= index < split_count(scheme):
        raise DataError(
            f"there is no split {index}",
            where=f"scheme of kind {kind}",
            remedy=f"choose 0 … {split_count(scheme) - 1}",
        )
    labels = samples["label"].to_numpy()
    groups = group_ids(samples, scheme.get("group", "none"))
    subset = np.full(len(samples), TRAIN, dtype=object)
    if kind == "kfold":
        folds = scheme["folds"]
        _demand(labels, groups, folds, classes, "use at most {groups} folds, or ")
        dealer = rng_for("split", seed, "kfold", folds)
        subset[deal(labels, groups, [1 / folds] * folds, dealer) == index] = TEST
        validation = scheme["validation"]
    elif kind == "random":
        _demand(labels, groups, len(SUBSETS), classes)
        shares = [1 - scheme["test"] - scheme["validation"], scheme["validation"], scheme["test"]]
        dealt = deal(labels, groups, shares, rng_for("split", seed, "random", index))
        subset = np.array(SUBSETS, dtype=object)[dealt]
        validation = 0
    else:
        subset = _official(samples)
        validation = 0 if (subset == VAL).any() else scheme["validation"]
    if validation:
        rest = np.flatnonzero(subset == TRAIN)
        dealer = rng_for("split", seed, kind, index, "validation")
        dealt = deal(labels[rest], groups[rest], [1 - validation, validation], dealer)
        subset[rest[dealt == 1]] = VAL
    for name in SUBSETS:
        missing = np.setdiff1d(labels, labels[subset == name])
        if len(missing):
            _refuse(labels, groups, missing[0], classes, f"none for '{name}'", _MORE)
    if scheme.get("test_per_class"):
        dealer = rng_for("split", seed, kind, index, "test_per_class")
        _spare(subset, labels, scheme["test_per_class"], dealer, classes)
    return pd.DataFrame({"sample": samples["sample"].to_numpy(), "subset": subset.astype(str)})


def _spare(
    subset: np.ndarray,
    labels: np.ndarray,
    most: int,
    rng: np.random.Generator,
    classes: Sequence[str] | None,
) -> None:
    """Marks all but `most` test images of each class, drawn at random, as spare, in place."""
    for label in np.unique(labels):
        tested = np.flatnonzero((subset == TEST) & (labels == label))
        if len(tested) < most:
            name = classes[label] if classes else label
            log.warning(
                "class '%s' has %d test images, not %d; all are used", name, len(tested), most
            )
        subset[rng.permutation(tested)[most:]] = SPARE


def group_ids(samples: pd.DataFrame, group: str) -> np.ndarray:
    """(N,) numbers, equal for images that must stay together.

    Args:
        samples: the table of a data set.
        group: ``none`` (every image for itself), ``duplicate`` (same pixels), ``patient`` (same
            patient or same pixels, and whatever that joins) or ``patient_safe`` (likewise, by the
            coarser id that never parts a person).

    Raises:
        DataError: `group` is another word, or patients are required where none is known.
    """
    if group not in GROUPS:
        raise DataError(
            f"cannot group by '{group}'", where="key 'group'", remedy=f"choose {', '.join(GROUPS)}"
        )
    count = len(samples)
    if group == "none":
        return np.arange(count)
    duplicate = pd.factorize(samples["duplicate"])[0]
    if group == "duplicate":
        return duplicate
    if group not in samples or samples[group].isna().all():
        raise DataError(
            "the data set has no patient ids",
            where=f"key 'group: {group}'",
            remedy="use a scheme that groups by duplicate",
        )
    # Here, since every attack job imports this module and none of them groups: a third of a second.
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    patient = pd.factorize(samples[group])[0]  # -1 where it is not known
    known = patient >= 0
    links = coo_matrix(
        (np.ones(known.sum()), (duplicate[known], duplicate.max() + 1 + patient[known])),
        shape=(duplicate.max() + patient.max() + 2,) * 2,
    )
    return connected_components(links, directed=False)[1][duplicate]


def deal(
    labels: np.ndarray, groups: np.ndarray, shares: Sequence[float], rng: np.random.Generator
) -> np.ndarray:
    """Deals groups to parts so that every part has its share of every class.

    Groups of several images go first, the largest ahead, each to the part where it disturbs the
    balance least (smallest sum over the classes of squared error over expected count, as in a
    chi-squared statistic). Single images, in random order, then fill what is left to the image.

    Args:
        labels: (N,) classes.
        groups: (N,) group of each image.
        shares: share of each part; they sum to 1.
        rng: draws the order.

    Returns:
        (N,) index of the part.
    """
    _, group = np.unique(groups, return_inverse=True)
    classes, label = np.unique(labels, return_inverse=True)
    table = np.zeros((group.max() + 1, len(classes)))
    np.add.at(table, (group, label), 1)
    size = table.sum(1)
    order = rng.permutation(len(table))
    order = order[np.argsort(-size[order], kind="stable")]
    wanted = np.outer(shares, table.sum(0))
    filled = np.zeros_like(wanted)
    subset = np.empty(len(table), dtype=np.int64)
    for number in order[size[order] > 1]:
        new = table[number]
        subset[number] = np.argmin(((2 * (filled - wanted) + new) * new / wanted).sum(1))
        filled[subset[number]] += new
    single = order[size[order] == 1]
    for kind in range(len(classes)):
        cards = single[table[single, kind] == 1]
        need = np.clip(wanted[:, kind] - filled[:, kind], 0, None)
        subset[cards] = np.repeat(np.arange(len(shares)), _apportion(need, len(cards), rng))
    return subset[group]


def _apportion(need: np.ndarray, total: int, rng: np.random.Generator) -> np.ndarray:
    """`total` in whole numbers in proportion to `need`, by largest remainders, ties at random."""
    exact = need / max(need.sum(), 1e-12) * total
    count = np.floor(exact + 1e-9).astype(np.int64)
    ranking = np.lexsort((rng.random(len(need)), -np.round(exact - count, 9)))
    count[ranking[: total - count.sum()]] += 1
    return count


def subsample(indices: np.ndarray, labels: np.ndarray, n: int | None, *, seed: int) -> np.ndarray:
    """The first `n` of a set of images in a fixed order in which the classes take turns.

    Parts of different sizes with one seed are nested: the images of a smaller part are among those
    of a larger one, so that whatever was computed on either can be compared image by image.

    Args:
        indices: (M,) indices into the data set.
        labels: (N,) classes of the whole data set.
        n: how many to keep; None, or M and more, keeps all.
        seed: another seed gives another order.

    Returns:
        (min(n, M),) the kept indices, ascending, see :func:`balanced_order`.
    """
    indices = np.sort(np.asarray(indices))
    if n is None or n >= len(indices):
        return indices
    return np.sort(balanced_order(indices, labels, seed=seed)[:n])


def balanced_order(indices: np.ndarray, labels: np.ndarray, *, seed: int) -> np.ndarray:
    """A random order of images every prefix of which is divided among the classes as the whole is.

    First comes one image of each class, then each class takes turns in proportion to its images:
    with equally frequent classes the counts in a prefix differ by one at most.

    Args:
        indices: (M,) indices into the data set, ascending.
        labels: (N,) classes of the whole data set.
        seed: another seed gives another order.

    Returns:
        (M,) the indices in that order.

    Example:
        >>> order = balanced_order(np.arange(6), np.array([0, 0, 0, 1, 1, 1]), seed=0)
        >>> np.array([0, 0, 0, 1, 1, 1])[order][:2].tolist() in ([0, 1], [1, 0])
        True
    """
    rng = rng_for("subsample", seed)
    shuffled = np.asarray(indices)[rng.permutation(len(indices))]
    classes, label, count = np.unique(
        np.asarray(labels)[shuffled], return_inverse=True, return_counts=True
    )
    # The place of each image within its class, as a share of the class.
    by_class = np.argsort(label, kind="stable")
    place = np.empty(len(shuffled))
    place[by_class] = np.arange(len(shuffled)) - np.repeat(count.cumsum() - count, count)
    turn = np.where(place == 0, 0.0, (place + 0.5) / count[label])
    # Ties, one of each class: the classes come in a random order.
    return shuffled[np.lexsort((rng.permutation(len(classes))[label], turn))]


def learning_seed(seed: int, dataset: str, split: str, subset: str) -> int:
    """The seed of :func:`subsample` that draws the images which networks see of a split's part.

    Args:
        seed: the run's seed.
        dataset: a data set's id.
        split: a split's id.
        subset: ``train`` or ``val``.
    """
    return seed_for(seed, "subsample", dataset, split, subset)


def leakage(
    samples: pd.DataFrame, split: pd.DataFrame, classes: Sequence[str] | None = None
) -> pd.DataFrame:
    """What a split's parts hold and what they share.

    Args:
        samples: the table of a data set.
        split: the table of :func:`make_split`.
        classes: names of the classes; without them the labels are used.

    Returns:
        Long table with the columns

        - `measure`: ``images``, ``duplicates`` (same pixels), ``patients`` or, where the data set
          has such ids, ``patients_safe`` (the reading that never parts a person);
        - `subsets`: ``train``, or for what two parts share ``train-test``;
        - `class`: a class, or ``all``;
        - `groups`: distinct images or patients, or how many of them are in both parts;
        - `images`: images of the part, or those of the second part that share one with the first;
        - `share`: `images` as a share of the second part's (of the data set's, for ``images``).

        Without patient ids the rows of ``patients`` are empty (null), not zero.
    """
    subset = split.set_index("sample")["subset"].reindex(samples["sample"]).to_numpy()
    names = samples["label"].map(dict(enumerate(classes))) if classes else samples["label"]
    table = samples.assign(subset=subset, name=names.astype(str))
    rows: list[tuple] = []
    for name in SUBSETS:
        here = table[table["subset"] == name]
        for label, some in [("all", here), *here.groupby("name", sort=True)]:
            rows.append(
                ("images", name, label, some["duplicate"].nunique(), len(some),
                 len(some) / max(len(table), 1))
            )  # fmt: skip
    read = [("duplicates", "duplicate"), ("patients", "patient")]
    if "patient_safe" in table and table["patient_safe"].notna().any():
        read.append(("patients_safe", "patient_safe"))
    for measure, column in read:
        known = table[table[column].notna()]
        for first, second in combinations(SUBSETS, 2):
            one, other = known[known["subset"] == first], known[known["subset"] == second]
            caught = other[other[column].isin(set(one[column]))]
            for label in ("all", *sorted(table["name"].unique())):
                some = caught if label == "all" else caught[caught["name"] == label]
                whole = other if label == "all" else other[other["name"] == label]
                facts = (some[column].nunique(), len(some), len(some) / max(len(whole), 1))
                rows.append(
                    (measure, f"{first}-{second}", label, *(facts if len(known) else (None,) * 3))
                )
    columns = ["measure", "subsets", "class", "groups", "images", "share"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype({"groups": "Int64", "images": "Int64", "share": "Float64"})


_MORE = "add images of it or leave the class out"


def _official(samples: pd.DataFrame) -> np.ndarray:
    if samples["official"].isna().any():
        raise DataError(
            "the data set has no official parts",
            where="scheme of kind official",
            remedy="use a kfold or random scheme",
        )
    return samples["official"].to_numpy(dtype=object)


def _demand(
    labels: np.ndarray,
    groups: np.ndarray,
    subsets: int,
    classes: Sequence[str] | None,
    fewer: str = "",
) -> None:
    """Raises an error when a class has fewer groups than there are parts.

    Fewer parts are advised only where they would do: with as many as there are groups, a share of
    the others must make a validation set.
    """
    pairs = np.unique(np.stack([labels, groups]), axis=1)
    present, count = np.unique(pairs[0], return_counts=True)
    if (count < subsets).any():
        remedy = f"{fewer if count.min() > len(SUBSETS) else ''}{_MORE}"
        _refuse(labels, groups, present[np.argmin(count)], classes, f"fewer than {subsets}", remedy)


def _refuse(
    labels: np.ndarray,
    groups: np.ndarray,
    label: int,
    classes: Sequence[str] | None,
    what: str,
    remedy: str,
) -> None:
    mine = labels == label
    count = len(np.unique(groups[mine]))
    apart = "" if count == mine.sum() else f" in {count} groups"
    raise DataError(
        f"class '{classes[label] if classes else label}' has {mine.sum()} image"
        f"{'' if mine.sum() == 1 else 's'}{apart}, {what}",
        where="split",
        remedy=remedy.format(groups=count),
    )
