"""Outcome rows to accuracies: per model, attack and budget, over splits and pooled."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from assay.analysis.attack_set import NORM, NORM_ALL, SUITE, attack_sets
from assay.analysis.intervals import wilson
from assay.analysis.rows import PLACE, constant, group_index, grouped, means, with_scheme
from assay.foundation.outcomes import score_reader

CELL = ["dataset", "scheme", "model", "suite", "attack", "worst_case", "norm", "epsilon"]
BALLS = ("linf", "l2", "l0")
# What one worst case over attacks is of.
BALL = ["dataset", "scheme", "model", "norm", "epsilon"]
# The columns of outcomes that are looked at here.
NEEDED = (
    "dataset", "split", "model", "suite", "attack", "norm", "epsilon", "sample", "label",
    "clean_prediction", "misclassified", "misclassified_share", "forwards", "backwards", "scores",
)  # fmt: skip


# What :func:`strongest` looks at: no scores, which are most of an outcome's bytes.
NEEDED_WORST_CASE = tuple(name for name in NEEDED if name != "scores")


def accuracy(outcomes: pd.DataFrame, worst_cases: pd.DataFrame | None = None) -> pd.DataFrame:
    """Accuracies and their uncertainty, worst cases over attacks included.

    Args:
        outcomes: rows of the outcome schema; ``scores`` may be missing.
        worst_cases: their worst cases, where they are known already; else :func:`worst_case` and
            :func:`strongest` of the outcomes, without those that repeat a single attack.

    Returns:
        One row per data set, split scheme, model, suite, attack, worst_case and epsilon: norm, n
        (rows), samples (distinct images), splits; accuracy and sd (mean and standard deviation over
        splits, sd NaN for one split); pooled (all rows), low, high (its 95 % Wilson interval);
        clean (share of the same rows whose unperturbed image is classified correctly);
        balanced_accuracy and
        auroc (macro, one-vs-rest, of the final scores; NaN without scores), means over splits;
        repeat_accuracy (mean share of right repeats); flip_share (images lost among those right
        when clean); forwards, backwards (mean passes per image); attacks (how many attacks the row
        counts) and members (their ids, for worst cases only). In rows of a worst case ``attack`` is
        empty: those with worst_case ``suite`` come from :func:`worst_case`, those with ``norm`` and
        ``norm_all`` from :func:`strongest`.
    """
    if worst_cases is not None:
        return in_reading_order([_summary(rows) for rows in (outcomes, worst_cases) if len(rows)])
    worst_cases = worst_case(outcomes), strongest(outcomes)
    table = in_reading_order([_summary(rows) for rows in (outcomes, *worst_cases) if len(rows)])
    return table[several_members(table)].reset_index(drop=True)


def in_reading_order(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Accuracy tables as one: names in order of appearance, budgets ascending."""
    table = pd.concat(tables, ignore_index=True)
    names = [table[name] for name in ("dataset", "scheme", "model", "suite")]
    keys = [pd.factorize(column)[0] for column in (*names, attack_sets(table))]
    return table.iloc[np.lexsort((table.epsilon, *reversed(keys)))].reset_index(drop=True)


def worst_case(outcomes: pd.DataFrame, *, alone: bool = False) -> pd.DataFrame:
    """The worst case over a suite's attacks: an image is misclassified if any attack succeeded.

    Only suites whose attacks share one ball norm have a worst case, and only images and budgets
    that every attack of the suite was run on enter it, so that a cap on one attack never makes the
    worst case look weaker than its members.

    Args:
        outcomes: rows of the outcome schema.
        alone: whether one attack has a worst case, too: that of a model for which the plan skips
            the suite's others.

    Returns:
        Rows of the outcome schema with worst_case ``suite`` and an empty attack: each is the row of
        the attack that succeeded on the image (or came closest to it), with the passes of all
        attacks together, and the column ``members`` (ids of these attacks).
    """
    rows = outcomes = with_scheme(outcomes)
    ball = np.flatnonzero(rows.norm.isin(BALLS))
    rows = rows.iloc[ball]
    suite, first_suite = group_index(rows.dataset, rows.suite)
    _, first_member = group_index(suite, rows.attack)
    attacks = np.bincount(suite[first_member])
    norms = np.bincount(suite[group_index(suite, rows.norm)[1]])
    names = _joined_names(rows.attack.iloc[first_member], suite[first_member], len(first_suite))
    members = np.where((attacks > (not alone)) & (norms == 1), attacks, 0)[suite]
    ball, rows, suite = ball[members > 0], rows[members > 0], suite[members > 0]
    members = members[members > 0]
    image, first = group_index(
        *(rows[name] for name in ("dataset", "split", "model", "suite", "epsilon", "sample"))
    )
    whole = np.bincount(image, minlength=len(first))[image] == members
    worst = _worst_rows(rows, image, whole)
    combined = outcomes.iloc[ball[worst]]
    return combined.assign(
        attack=constant("", len(combined)),
        worst_case=constant(SUITE, len(combined)),
        members=_named(suite[worst], names),
        **_passes(rows, image, whole, worst),
    )


def strongest(outcomes: pd.DataFrame) -> pd.DataFrame:
    """The worst case over all attacks of one ball norm and radius, whichever suites they are in.

    Attacks of a model may have seen different images: an expensive one sees a prefix of what the
    others see. The first worst case is over the images of the attack that saw most, and over all
    attacks that saw every one of them. Where other attacks saw fewer, a second one is over all
    attacks, on the images that every one of them saw. Either is at most the accuracy under each of
    its members on the same images.

    Args:
        outcomes: rows of the outcome schema without ``scores`` (:data:`NEEDED_WORST_CASE`), of one
            model at least.

    Returns:
        Rows as :func:`worst_case` gives them, with suite "": worst_case ``norm`` and, where it
        stands on fewer images, ``norm_all``. A worst case may have a single member
        (:func:`several_members`).
    """
    rows = with_scheme(outcomes.drop(columns="scores", errors="ignore"))
    rows = rows[rows.norm.isin(BALLS)]
    cell, _ = group_index(*(rows[name] for name in BALL))
    member, first_member = group_index(cell, rows.attack)
    image, first_image = group_index(cell, rows["split"], rows["sample"])
    # An attack that stands in two suites counts once.
    _, seen = group_index(image, member)
    owner = cell[first_member]
    sizes = np.bincount(member[seen], minlength=len(owner))
    # Per cell the attack that saw most images, and which images those are.
    ranked = np.lexsort((-sizes, owner))
    largest = ranked[np.unique(owner[ranked], return_index=True)[1]]
    base = np.zeros(len(first_image), bool)
    base[image[seen][np.isin(member[seen], largest)]] = True
    covered = np.bincount(member[seen], base[image[seen]], len(owner))
    whole = covered == sizes[largest][owner]
    # The images that all attacks saw.
    met = np.bincount(image[seen], minlength=len(first_image))
    common = met == np.bincount(owner)[cell[first_image]]
    fewer = (np.bincount(cell[first_image], common) < sizes[largest])[cell]
    parts = [
        _over_attacks(rows, cell, member, image, whole[member] & base[image], NORM),
        _over_attacks(rows, cell, member, image, common[image] & fewer, NORM_ALL),
    ]
    return pd.concat(parts, ignore_index=True)


def several_members(table: pd.DataFrame) -> np.ndarray:
    """(N,) mask of accuracy rows without the worst cases that repeat a single attack.

    A worst case over one attack is that attack. It stays only where another model of the cell has
    several, so that models can be compared.
    """
    cell = [*PLACE, "suite", "attack", "worst_case", "norm", "epsilon"]
    most = table.attacks.groupby([table[name] for name in cell], observed=True).transform("max")
    return (~over_norm(table) | (most > 1)).to_numpy(bool)


def over_norm(table: pd.DataFrame) -> pd.Series:
    """(N,) whether each row is a worst case over the attacks of a norm, whichever their suites."""
    return table.worst_case.isin([NORM, NORM_ALL])


def _over_attacks(
    rows: pd.DataFrame,
    cell: np.ndarray,
    member: np.ndarray,
    image: np.ndarray,
    chosen: np.ndarray,
    kind: str,
) -> pd.DataFrame:
    """The worst of the chosen rows of each image, as a worst case of this kind."""
    worst = _worst_rows(rows, image, chosen)
    _, first = group_index(member[chosen])
    attacks, owner = rows.attack[chosen].iloc[first], cell[chosen][first]
    count = int(cell.max(initial=-1)) + 1
    members = _named(cell[worst], _joined_names(attacks, owner, count))
    return rows.iloc[worst].assign(
        suite="",
        attack=constant("", len(worst)),
        worst_case=pd.Categorical([kind] * len(worst), [NORM, NORM_ALL]),
        members=members,
        **_passes(rows, image, chosen, worst),
    )


def _worst_rows(rows: pd.DataFrame, image: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """By image, the chosen row that is misclassified, or by the most repeats, or stands first."""
    # Ascending: misclassified rows first, then those with more misclassified repeats.
    order = np.lexsort(
        (-rows.misclassified_share.to_numpy(), ~rows.misclassified.to_numpy(bool), image)
    )
    order = order[chosen[order]]
    return np.sort(order[np.unique(image[order], return_index=True)[1]])


def _passes(
    rows: pd.DataFrame, image: np.ndarray, chosen: np.ndarray, worst: np.ndarray
) -> dict[str, np.ndarray]:
    """Forward and backward passes of the chosen rows of an image together, for the worst rows."""
    return {
        name: np.bincount(image[chosen], rows[name].to_numpy()[chosen])[image[worst]]
        for name in ("forwards", "backwards")
    }


def _named(codes: np.ndarray, names: list[str]) -> pd.Categorical:
    """The names of the codes, several of which may have one name."""
    known, places = np.unique(np.array(names, dtype=object), return_inverse=True)
    return pd.Categorical.from_codes(places[codes], known)


def _joined_names(attacks: pd.Series, owner: np.ndarray, count: int) -> list[str]:
    """The names of the attacks of each of `count` owners, in one text each."""
    found: list[list[str]] = [[] for _ in range(count)]
    for name, place in zip(attacks, owner, strict=True):
        found[place].append(str(name))
    return [", ".join(names) for names in found]


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Macro-averaged one-vs-rest area under the ROC curve, by ranks (Mann and Whitney).

    Equal to scikit-learn's ``roc_auc_score(multi_class="ovr")``, which a test holds it to, but
    fast enough for thousands of small cells, and without its demand that every class occurs.

    Args:
        labels: (N,) class indices.
        scores: (N, K) class probabilities.

    Returns:
        The mean over classes that have both positives and negatives, in [0, 1]; NaN if there are
        none or a score is not finite.
    """
    if not len(labels) or not np.isfinite(scores).all():
        return float("nan")
    areas = []
    for index, column in enumerate(np.asarray(scores).T):
        positive = labels == index
        own, others = np.sort(column[positive]), np.sort(column[~positive])
        if len(own) and len(others):
            # A tie counts as half a win.
            wins = others.searchsorted(own, "left").sum() + others.searchsorted(own, "right").sum()
            areas.append(wins / (2 * len(own) * len(others)))
    return float(np.mean(areas)) if areas else float("nan")


def _summary(outcomes: pd.DataFrame) -> pd.DataFrame:
    rows = with_scheme(outcomes)
    cell, first = group_index(*(rows[name] for name in CELL))
    part, first_part = group_index(cell, rows["split"])
    cells, parts = len(first), len(first_part)
    misclassified = rows.misclassified.to_numpy(bool)
    labels = rows.label.to_numpy()
    recall, first_recall = group_index(part, labels)
    splits = pd.DataFrame({
        "accuracy": means(~misclassified, part, parts),
        "balanced_accuracy": means(
            means(~misclassified, recall, len(first_recall)), part[first_recall], parts
        ),
        "auroc": _areas(rows, labels, part, parts),
    }).groupby(cell[first_part])  # fmt: skip

    table = rows[CELL].iloc[first].reset_index(drop=True).astype(dict.fromkeys(CELL[:-1], object))
    table["n"] = np.bincount(cell)
    _, first_image = group_index(cell, rows["sample"])
    table["samples"] = np.bincount(cell[first_image])
    table["splits"] = splits.size()
    table["accuracy"] = splits.accuracy.mean()
    table["sd"] = splits.accuracy.std(ddof=1)
    table["pooled"] = means(~misclassified, cell, cells)
    # Repeated splits test one image several times; only distinct images count as trials.
    table["low"], table["high"] = wilson(table.pooled * table.samples, table.samples)
    kept = rows.clean_prediction.to_numpy() == labels
    table["clean"] = means(kept, cell, cells)
    table[["balanced_accuracy", "auroc"]] = splits[["balanced_accuracy", "auroc"]].mean()
    table["repeat_accuracy"] = means(1 - rows.misclassified_share.to_numpy(float), cell, cells)
    # An image that was wrong when clean cannot be lost.
    table["flip_share"] = means(np.where(kept, misclassified, np.nan), cell, cells)
    for name in ("forwards", "backwards"):
        table[name] = means(rows[name], cell, cells)
    members = rows.members.iloc[first].astype(str) if "members" in rows else [""] * cells
    table["members"] = np.array(members, dtype=object)
    table["attacks"] = table.members.str.count(",") + 1
    return table


def _areas(rows: pd.DataFrame, labels: np.ndarray, part: np.ndarray, parts: int) -> list[float]:
    if "scores" not in rows:
        return [float("nan")] * parts
    scores = score_reader(rows.scores)
    return [auroc(labels[mine], scores(mine)) for mine in grouped(part)]
