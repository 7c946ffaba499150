"""Is a difference between two classifiers larger than what other splits would make of it?

McNemar's test speaks about the networks that were trained. Here the splits, each with a network of
its own, are a source of chance beside the test images.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
import scipy

from assay.analysis.families import ALPHA, HEADLINE, Families, corrected
from assay.analysis.intervals import bonett_price
from assay.analysis.mcnemar import exact_p
from assay.analysis.paired import CELL, Paired
from assay.analysis.resampled_t import TrainSizes, nadeau_bengio, training_sizes
from assay.analysis.rows import grouped
from assay.foundation.seeds import rng_for

BOOTSTRAP, RESAMPLED_T, MCNEMAR = "clustered bootstrap", "corrected resampled t", "McNemar"
# Fewer splits are too few to resample.
FEWEST_SPLITS = 5
LEVEL = 0.95
REPLICATES = 2000
# A headline gets so many replicates that the least p-value is an eighth of Holm's first level, as
# far as these limits allow.
MOST_REPLICATES, MOST_WEIGHTS = 20_000, 1_000_000_000
_AT_ONCE = 4_000_000  # weights in memory
_EQUAL = 1e-6  # weights are in single precision: what differs by less is the same
COLUMNS = [
    *CELL, "model_a", "model_b", "method", "splits", "n", "samples", "accuracy_a", "accuracy_b",
    "difference", "low", "high", "p", "family", "holm_p", "q", "significant", "note",
]  # fmt: skip


def between_splits(
    outcomes: pd.DataFrame | Paired,
    train_sizes: TrainSizes | None = None,
    *,
    families: Families | None = None,
    alpha: float = ALPHA,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> pd.DataFrame:
    """Every pair of models under every attack and budget, by a test that knows of splits.

    The difference is the mean over splits of the differences of accuracy on the images that both
    models were tested on. Its test depends on the number of splits:

    - Five or more: a **clustered bootstrap**. Each replicate draws splits with replacement, since
      another division of the images and another training would move all decisions of a split
      together, and draws test images with replacement, since others could have been tested. Where
      each image is tested in one split (k-fold), images are drawn within their split. Where images
      recur (repeated random splits), they are drawn once for all splits, so that an image that is
      hard in every split counts as one source of chance. Five splits show too little of their own
      spread: the deviation of a split's weight from 1 is multiplied by sqrt(J / (J - 1)) and by
      the ratio of Student's to the normal quantile, so that where splits alone vary the interval
      is about as wide as Student's. The interval is given by percentiles of the replicates, the
      p-value is twice the share of replicates on the far side of 0, with one added to both counts:
      it is never 0. The noise of images counts twice (in the spread of the splits, and when images
      are drawn): where training adds no noise of its own, the test is conservative. That training
      sets overlap, it does not know.
    - Two to four: Nadeau and Bengio's **corrected resampled t** with its interval. Where all
      splits have the same difference other than 0, it cannot be computed: NaN.
    - One: **McNemar**'s exact test and Bonett and Price's interval.

    Where the decisions do not let the differences vary at all, resampling shows no uncertainty,
    though there is some: the interval is then Bonett and Price's of the distinct images.

    Args:
        outcomes: rows of the outcome schema, or what is left of them for tests.
        train_sizes: training images by (dataset, split, model), for the corrected resampled t.
        families: which tests are corrected together; without, all tests of a data set are one
            family that Holm's method corrects.
        alpha: level of each family.
        replicates: of the bootstrap, at least; a headline whose family needs smaller p-values gets
            more of them.
        seed: from it and the names of data set and scheme all random numbers derive; the order of
            the rows is irrelevant.

    Returns:
        One row per data set, split scheme, suite, attack, epsilon and pair: method, splits, n
        (rows of each model), samples (distinct images), accuracy_a, accuracy_b (means over
        splits), difference (a - b) with its 95 % interval low, high, p, family, holm_p, q,
        significant (see :func:`assay.analysis.families.corrected`), note.

    Sources: Davison and Hinkley 1997, Bootstrap Methods and their Application, section 3.8 (two
    levels of resampling) and section 4.2 (one added to both counts); Nadeau and Bengio 2003,
    Machine Learning 52:239-281.
    """
    pairs, families = Paired.of(outcomes), families or Families()
    blocks = list(_blocks(pairs))
    if not blocks:
        return pd.DataFrame(columns=COLUMNS)
    first = np.concatenate([np.full(len(block.a), block.place) for block in blocks])
    compared = (
        np.concatenate([block.models[block.a] for block in blocks]),
        np.concatenate([block.models[block.b] for block in blocks]),
    )
    table = pairs.cells.iloc[first][CELL].reset_index(drop=True)
    names = np.array(pairs.models, object)
    table["model_a"], table["model_b"] = names[compared[0]], names[compared[1]]
    table["family"] = families.of_tests(pairs, first, compared, over_splits=True)
    least = _replicates(table, families, alpha, replicates)
    results = _results(blocks, training_sizes(pairs, train_sizes or {}))
    _bootstrap(blocks, results, least, pairs, seed)
    table = pd.concat([table, pd.DataFrame(results)], axis=1)
    table = table.assign(order=first, a=compared[0], b=compared[1])
    table = table.sort_values(["order", "a", "b"], kind="stable", ignore_index=True)
    return corrected(table, "p", families, alpha)[COLUMNS]


@dataclass(frozen=True, eq=False)
class _Block:
    """Models of a cell that were tested on the same images, all splits together.

    Attributes:
        place: a row of ``Paired.cells`` that holds the cell's ids.
        start: the number of the block's first test.
        cells: (J,) the rows of ``Paired.cells`` of its splits.
        split: (R,) index of each row's split, ascending.
        sample: (R,) the image of each row.
        right: (R, M) whether each model is right.
        models: (M,) indices of the models.
        a: (P,) indices within `models` of the pairs' first, and `b` of their second models.
    """

    place: int
    start: int
    cells: np.ndarray
    split: np.ndarray
    sample: np.ndarray
    right: np.ndarray
    models: np.ndarray
    a: np.ndarray
    b: np.ndarray

    @property
    def tests(self) -> slice:
        return slice(self.start, self.start + len(self.a))

    @property
    def sizes(self) -> np.ndarray:
        """(J,) images of each split."""
        return np.bincount(self.split)

    @property
    def accuracies(self) -> np.ndarray:
        """(J, M) accuracy of each model in each split."""
        starts = np.cumsum([0, *self.sizes[:-1]])
        return np.add.reduceat(self.right, starts, axis=0, dtype=float) / self.sizes[:, None]


def _blocks(pairs: Paired) -> Iterator[_Block]:
    """All pairs of models, by cell and by the images that both were tested on."""
    names = pairs.cells.groupby("split", sort=True).ngroup().to_numpy()
    cell = pairs.cells.groupby(CELL, observed=True, sort=False).ngroup().to_numpy()
    # One order of rows, whatever the order of the outcomes.
    order = np.lexsort((pairs.sample, names[pairs.cell]))
    start = 0
    for rows in grouped(cell[pairs.cell[order]]):
        rows = order[rows]
        right = pairs.right[rows]
        models = np.flatnonzero((right >= 0).any(axis=0))
        known = right[:, models] >= 0
        _, kind = np.unique(known, axis=1, return_inverse=True)
        kind = kind.ravel()
        for one in range(kind.max() + 1):
            for other in range(one, kind.max() + 1):
                own = np.flatnonzero((kind == one) | (kind == other))
                a, b = np.array(list(combinations(range(len(own)), 2)), int).reshape(-1, 2).T
                if one != other:
                    across = kind[own[a]] != kind[own[b]]
                    a, b = a[across], b[across]
                mine = known[:, own].all(axis=1)
                if not len(a) or not mine.any():
                    continue
                place = pairs.cell[rows[mine]]
                ends = np.flatnonzero(np.diff(place, prepend=-1))
                yield _Block(
                    pairs.cell[rows].min(), start, place[ends],
                    np.cumsum(np.diff(place, prepend=place[0]) != 0), pairs.sample[rows[mine]],
                    right[mine][:, models[own]], models[own], a, b,
                )  # fmt: skip
                start += len(a)


def _results(blocks: Sequence[_Block], trained: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of all tests, by block; those of the bootstrap still lack interval and p-value."""
    parts = [_result(block, trained) for block in blocks]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _result(block: _Block, trained: np.ndarray) -> dict[str, np.ndarray]:
    accuracies, splits = block.accuracies, len(block.cells)
    gaps = accuracies[:, block.a] - accuracies[:, block.b]
    samples = len(np.unique(block.sample))
    method = MCNEMAR if splits == 1 else RESAMPLED_T if splits < FEWEST_SPLITS else BOOTSTRAP
    tests = len(block.a)
    found = {
        "method": np.full(tests, method, object),
        "splits": np.full(tests, splits),
        "n": np.full(tests, len(block.split)),
        "samples": np.full(tests, samples),
        "accuracy_a": accuracies.mean(axis=0)[block.a],
        "accuracy_b": accuracies.mean(axis=0)[block.b],
        "difference": gaps.mean(axis=0),
        "p": np.full(tests, np.nan),
        "note": np.full(tests, "", object),
    }
    right = block.right.astype(float)
    both = (right.T @ right)[block.a, block.b]
    only_a, only_b = (right.sum(axis=0)[side] - both for side in (block.a, block.b))
    # An image that several splits tested is one image.
    share = samples / len(block.split)
    found["low"], found["high"] = bonett_price(only_a * share, only_b * share, samples)
    if method == MCNEMAR:
        counts = zip(only_a.astype(int).tolist(), only_b.astype(int).tolist(), strict=True)
        found["p"] = np.array([exact_p(*pair) for pair in counts])
    elif method == RESAMPLED_T:
        _resampled(block, gaps, trained, found)
    return found


def _resampled(
    block: _Block, gaps: np.ndarray, trained: np.ndarray, found: dict[str, np.ndarray]
) -> None:
    """Puts p-values and intervals of the corrected resampled t among what is found."""
    sizes = trained[block.cells][:, block.models]
    share = (block.sizes[:, None] / np.minimum(sizes[:, block.a], sizes[:, block.b])).mean(axis=0)
    mean, variance = gaps.mean(axis=0), gaps.var(axis=0, ddof=1)
    _, found["p"], half = nadeau_bengio(mean, variance, len(gaps), share, LEVEL)
    equal = np.isnan(half) & ~np.isnan(share)
    nothing = equal & (found["p"] == 1)
    for side, sign in (("low", -1), ("high", 1)):
        found[side] = np.where(nothing, found[side], np.clip(mean + sign * half, -1, 1))
    found["note"][np.isnan(share)] = "not tested: the number of training images is not known"
    found["note"][equal & ~nothing] = (
        "not tested: all splits have the same difference, so its variance cannot be estimated"
    )


def _replicates(
    table: pd.DataFrame, families: Families, alpha: float, replicates: int
) -> np.ndarray:
    """(T,) how many replicates each test needs, so that its family could find it."""
    headline = table.family == HEADLINE
    size = headline.groupby([table[name] for name in families.together], observed=True)
    needed = np.minimum(16 * size.transform("sum") / alpha, MOST_REPLICATES)
    return np.maximum(np.where(headline, needed, 0), replicates).astype(int)


def _bootstrap(
    blocks: Sequence[_Block],
    results: dict[str, np.ndarray],
    least: np.ndarray,
    pairs: Paired,
    seed: int,
) -> None:
    """Puts p-values and intervals of the bootstrap among the results.

    Blocks of one scheme with the same images share their weights, which are most of the work.
    """
    alike = defaultdict(list)
    for block in blocks:
        if len(block.cells) >= FEWEST_SPLITS:
            ids = tuple(pairs.cells.loc[block.place, ["dataset", "scheme"]])
            images = block.split.tobytes(), block.sample.tobytes()
            alike[ids, images, int(least[block.tests].max())].append(block)
    for (ids, _, count), same in alike.items():
        count = min(count, max(MOST_WEIGHTS // len(same[0].split), REPLICATES))
        together = max(1, _AT_ONCE * 5 // (count * len(pairs.models)))
        for begin in range(0, len(same), together):
            # The same weights again, where the replicates of all blocks would not fit in memory.
            rng = rng_for("between_splits", seed, *ids)
            own = same[begin : begin + together]
            _bootstrap_alike(own, results, count, ids in pairs.repeated, rng)


def _bootstrap_alike(
    blocks: Sequence[_Block],
    results: dict[str, np.ndarray],
    count: int,
    repeated: bool,
    rng: np.random.Generator,
) -> None:
    # The sums are in double precision: in single precision their rounding differs from one machine
    # to the next by more than `_EQUAL`, and with it what counts as equal.
    right = np.concatenate([block.right.T for block in blocks]).astype(np.float64)
    parts = _weights(blocks[0], count, repeated, rng)
    means = np.concatenate([right @ part.T.astype(np.float64) for part in parts], axis=1)
    edges = np.cumsum([0, *(block.right.shape[1] for block in blocks)])
    for block, edge in zip(blocks, edges, strict=False):
        own = means[edge : edge + block.right.shape[1]]
        _put(block, own[block.a] - own[block.b], results)


def _weights(
    block: _Block, count: int, repeated: bool, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """(B, R) weights of the rows in each replicate, B replicates at a time, `count` in all.

    Multiplied with decisions they give a replicate of the mean over splits of the accuracies: of
    each split the accuracy on the images that are drawn, and, as often as the split is drawn more
    or less than once, its accuracy on all its images. So draws of splits do not magnify the noise
    of images. A split none of whose images are drawn keeps them all.
    """
    splits, sizes = len(block.cells), block.sizes
    starts = np.cumsum([0, *sizes[:-1]])
    images, row = np.unique(block.sample, return_inverse=True)
    stretch = np.sqrt(splits / (splits - 1)) * (
        scipy.stats.t.isf((1 - LEVEL) / 2, splits - 1) / scipy.stats.norm.isf((1 - LEVEL) / 2)
    )
    at_once = max(1, _AT_ONCE // len(row))
    for begin in range(0, count, at_once):
        batch = min(at_once, count - begin)
        drawn = rng.multinomial(splits, np.full(splits, 1 / splits), batch)
        if repeated:
            image = _multinomial(rng, batch, len(images))[:, row]
        else:
            image = np.concatenate([_multinomial(rng, batch, size) for size in sizes], axis=1)
        total = np.add.reduceat(image, starts, axis=1)
        none = total == 0
        of_split = (none + stretch * (drawn - 1)) / sizes
        of_image = image * (1 / np.where(none, 1, total)).astype(np.float32)[:, block.split]
        yield (of_image + of_split.astype(np.float32)[:, block.split]) / np.float32(splits)


def _multinomial(rng: np.random.Generator, batch: int, size: int) -> np.ndarray:
    """(batch, size) how often each of `size` things comes in as many draws with replacement."""
    drawn = rng.integers(0, size, (batch, size)) + np.arange(batch)[:, None] * size
    return np.bincount(drawn.ravel(), minlength=batch * size).reshape(batch, size).astype("f4")


def _put(block: _Block, differences: np.ndarray, results: dict[str, np.ndarray]) -> None:
    """Puts one block's p-values and intervals among the results, from (P, B) replicates."""
    count = differences.shape[1]
    below, above = (differences <= _EQUAL).sum(axis=1), (differences >= -_EQUAL).sum(axis=1)
    results["p"][block.tests] = np.minimum(2 * (1 + np.minimum(below, above)) / (count + 1), 1)
    ends = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    limits = np.quantile(differences, ends, axis=1, method="weibull")
    varies = np.ptp(differences, axis=1) > _EQUAL
    for side, limit in zip(("low", "high"), limits, strict=True):
        # Where nothing varies, Bonett and Price's limits stay.
        results[side][block.tests][varies] = np.clip(limit[varies], -1, 1)
