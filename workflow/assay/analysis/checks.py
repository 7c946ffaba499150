"""Can the evaluation be trusted? The checks that outcomes alone can answer, and a verdict.

The ids are those of the project's list of diagnostics (``docs/statistics.md`` explains each).
Published twins are meant to be weak, so they are left out of every check on attack strength, but
one: none may beat its own correction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from assay.analysis.accuracy import BALLS
from assay.analysis.rows import ATTACKED, PLACE, keyed, numbered
from assay.analysis.statistics import holm
from assay.analysis.style import radius_text

COLUMNS = ("dataset", "scheme", "model", "check", "figure", "status", "sentence")
# The columns of outcomes that are looked at here.
NEEDED = (
    "dataset", "split", "model", "suite", "attack", "norm", "epsilon", "sample", "label",
    "clean_prediction", "broken", "replay_share", "linf", "l2", "l0", "backwards",
    "zero_gradients", "non_finite", "scores",
)  # fmt: skip
THRESHOLDS = {
    # Absolute slack of a radius, for the rounding of float32 pixels.
    "norm_slack": 1e-6,
    # Differences of accuracy up to this are not held against an attack.
    "tolerance": 0.01,
    # A paired difference in the wrong direction fails, not only flags, below this p-value.
    "significance": 0.05,
    "zero_gradient_flag": 0.01,
    "zero_gradient_fail": 0.5,
    "union_gap": 0.03,
    "replay_flips": 0.05,
    # A published twin that breaks more than its correction flags below this corrected p-value.
    "twin_significance": 0.05,
}
# Known to be weak on purpose.
PUBLISHED = "as_published"

PASS, FLAG, FAIL = "pass", "flag", "fail"


class Finding(NamedTuple):
    """One check's answer: its number, pass | flag | fail, and what that means."""

    figure: float
    status: str
    sentence: str


def checks(
    outcomes: pd.DataFrame,
    thresholds: Mapping[str, float] | None = None,
    twins: Sequence[Mapping[str, str]] = (),
    expected: Mapping[tuple[str, str, str, str], int] | None = None,
    exempt: Mapping[str, Collection[str]] | None = None,
) -> pd.DataFrame:
    """Runs every check on every model.

    Args:
        outcomes: rows of the outcome schema.
        thresholds: values that replace those of :data:`THRESHOLDS`
            (config/config.yaml, ``checks``).
        twins: mappings with ``published`` and ``corrected`` (attack ids): the pairs of the study's
            tables of defects.
        expected: evaluations (split, image, budget) of each attack that the models of a data set
            and split scheme have together, as :func:`evaluations` gives them; counted in `outcomes`
            where they are not given.
        exempt: attacks of their suites that models need not meet, by model.

    Returns:
        One row per data set, split scheme, model and check that applies: figure (a share, unless
        the sentence says otherwise), status (pass | flag | fail), sentence.
    """
    limits = {**THRESHOLDS, **(thresholds or {})}
    _, first = numbered(outcomes.dataset)
    names = outcomes.dataset.iloc[first]
    classes = dict(zip(names, map(len, outcomes.scores.iloc[first]), strict=True))
    outcomes = keyed(outcomes.drop(columns="scores"))
    expected = evaluations(outcomes) if expected is None else expected
    rows = []
    for (*place, model), mine in outcomes.groupby([*PLACE, "model"], observed=True, sort=False):
        # A suite that a model was never meant to meet is not missing; an attack of one it met is.
        met, spared = set(mine.suite), (exempt or {}).get(model, ())
        wanted = sum(
            count
            for (*where, suite, attack), count in expected.items()
            if where == place and suite in met and attack not in spared
        )
        evaluated = _Evaluated(mine, wanted, classes[place[0]], limits, twins)
        for check, judge in CHECKS.items():
            finding = judge(evaluated)
            if finding:
                rows.append((*place, model, check, *finding))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def verdict(frame: pd.DataFrame) -> pd.DataFrame:
    """One word per model: can its robust accuracies be trusted?

    Args:
        frame: the frame of :func:`checks`.

    Returns:
        One row per data set, split scheme and model: verdict (``broken`` if any check fails, else
        ``suspect`` if any flags, else ``sound``) and because (the checks that decided, empty if
        sound).
    """
    rows = []
    names = [*PLACE, "model"]
    for ids, mine in frame.groupby(names, observed=True, sort=False):
        for status, word in ((FAIL, "broken"), (FLAG, "suspect"), (PASS, "sound")):
            deciding = mine.check[mine.status == status]
            if len(deciding):
                because = ", ".join(deciding) if word != "sound" else ""
                rows.append((*ids, word, because))
                break
    return pd.DataFrame(rows, columns=[*names, "verdict", "because"])


_EVALUATION = ["dataset", "split", "suite", "attack", "epsilon", "sample"]


def evaluations(outcomes: pd.DataFrame) -> Counter[tuple[str, str, str, str]]:
    """How many evaluations (split, image, budget) any model had, by :data:`ATTACKED`."""
    rows = keyed(outcomes)
    _, first = numbered(*(rows[name] for name in _EVALUATION))
    return Counter(rows[ATTACKED].iloc[first].groupby(ATTACKED, observed=True).size().to_dict())


class _Evaluated:
    """One model's outcomes on one data set, as rows and as matrices of images by cells.

    Attributes:
        rows: the outcome rows.
        expected: evaluations by this model's attacks that the models of this data set have
            together.
        classes: how many the data set has.
        limits: the thresholds.
        twins: pairs of a published attack and its correction.
        cells: frame of the columns of the matrices: suite, attack, norm, epsilon, steps (most
            backward passes that the attack spent on an image), strong (not published, not clean),
            gradient (a strong ball attack that follows a gradient).
        broken: (I, C) 1.0, 0.0, or NaN where the image was not attacked so.
        size: norm to (I, C) measured lengths of the changes.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        expected: int,
        classes: int,
        limits: Mapping[str, float],
        twins: Sequence[Mapping[str, str]],
    ):
        self.rows, self.expected, self.classes = rows, expected, classes
        self.limits, self.twins = limits, twins
        keys = [rows.suite, rows.attack, rows.norm, rows.epsilon]
        groups = rows.backwards.groupby(keys, observed=True)
        self.cells = groups.max().reset_index().astype({"norm": object, "attack": object})
        image, images = numbered(rows["split"], rows["sample"])
        place = image, groups.ngroup().to_numpy()
        shape = len(images), len(self.cells)
        self.broken = _matrix(shape, place, rows.broken)
        self.size = {norm: _matrix(shape, place, rows[norm]) for norm in ("linf", "l2")}
        cells = self.cells
        cells["strong"] = (cells.suite != PUBLISHED) & (cells.attack != "clean")
        # Broken images leave the search, so only the most patient image shows the steps.
        cells["steps"] = cells.pop("backwards").groupby(cells.attack).transform("max")
        cells["gradient"] = cells.strong & (cells.steps > 0) & cells.norm.isin(BALLS)
        self.clean = _any(self.broken[:, (cells.attack == "clean").to_numpy()])

    def sweeps(self) -> Iterator[tuple[str, str, pd.Series]]:
        """(norm, attack, column by ascending epsilon) of each strong attack in a ball."""
        balls = self.cells[self.cells.strong & self.cells.norm.isin(BALLS)]
        for (norm, attack), cells in balls.groupby(["norm", "attack"], sort=False):
            yield norm, attack, pd.Series(cells.index, index=cells.epsilon).sort_index()


def _matrix(shape: tuple[int, int], place: tuple, values: pd.Series) -> np.ndarray:
    matrix = np.full(shape, np.nan)
    matrix[place] = values.to_numpy(float)
    return matrix


def _any(broken: np.ndarray) -> np.ndarray:
    """(I,) whether any column broke the image; NaN where no column knows it."""
    return np.where(
        np.isnan(broken).all(axis=1), np.nan, np.nan_to_num(broken).max(axis=1, initial=0)
    )


def _radii(run: _Evaluated) -> Finding | None:
    """D02: adversarial images lie inside their ball and hold no NaN."""
    balls = run.rows[run.rows.norm.isin(BALLS)]
    if balls.empty:
        return None
    axis = balls.norm.map({norm: i for i, norm in enumerate(BALLS)}).astype(int)
    size = np.take_along_axis(balls[list(BALLS)].to_numpy(float), axis.to_numpy()[:, None], 1)
    # The comparison is written so that NaN is outside.
    outside = ~(size[:, 0] <= balls.epsilon.to_numpy() + run.limits["norm_slack"])
    if outside.any():
        sentence = f"{outside.sum()} images lie outside their radius or hold NaN."
        return Finding(outside.mean(), FAIL, sentence)
    numbers = int(run.rows.non_finite.sum())
    if numbers:
        return Finding(0.0, FLAG, f"Radii hold, but {numbers} logits or gradients were not finite.")
    return Finding(0.0, PASS, "Every attacked image lies within its radius and is finite.")


def _zero_gradients(run: _Evaluated) -> Finding | None:
    """D08: gradients that vanish everywhere leave an attack without direction."""
    mine = run.rows[run.rows.attack.isin(run.cells.attack[run.cells.gradient])]
    if mine.empty:
        return None
    share = mine.zero_gradients.sum() / max(mine.backwards.sum(), 1)
    status = PASS
    if share > run.limits["zero_gradient_flag"]:
        status = FAIL if share > run.limits["zero_gradient_fail"] else FLAG
    return Finding(share, status, f"{share:.1%} of all gradients were zero everywhere.")


def _more_steps(run: _Evaluated) -> Finding | None:
    """D16: an iterative attack breaks at least as much as the one with the fewest steps.

    Among attacks with many steps their number says little: a minimal-norm attack spends most of
    them on images that another one breaks at this radius at once.
    """
    gaps = []
    for (norm, epsilon), cells in run.cells[run.cells.gradient].groupby(["norm", "epsilon"]):
        fewer = cells.steps.idxmin()
        for more in cells.index[cells.steps > cells.steps[fewer]]:
            gap, p = _paired_gap(run.broken[:, fewer], run.broken[:, more])
            gaps.append((gap, p, *cells.attack[[fewer, more]], f"{norm} {radius_text(epsilon)}"))
    if not gaps:
        return None
    gap, p, fewer, more, where = max(gaps)
    if gap <= run.limits["tolerance"]:
        sentence = "No attack breaks fewer images than the one with the fewest steps."
        return Finding(gap, PASS, sentence)
    return Finding(
        gap,
        FAIL if p < run.limits["significance"] else FLAG,
        f"{more} breaks {gap:.1%} fewer images than {fewer} at {where}, with more steps.",
    )


def _monotone(run: _Evaluated) -> Finding | None:
    """D17: a larger ball cannot make an attack weaker, and radius 0 is the clean image."""
    rises = []
    for norm, attack, columns in run.sweeps():
        for (_, small), (epsilon, large) in pairwise(columns.items()):
            rise, _ = _paired_gap(run.broken[:, small], run.broken[:, large])
            rises.append(
                (rise, f"rises by {rise:.1%} under {attack} at {norm} {radius_text(epsilon)}")
            )
        if columns.index[0] == 0:
            gap = abs(_paired_gap(run.clean, run.broken[:, columns.iloc[0]])[0])
            rises.append((gap, f"under {attack} at radius 0 is {gap:.1%} off the clean one"))
    if not rises:
        return None
    rise, words = max(rises)
    if rise <= run.limits["tolerance"]:
        return Finding(rise, PASS, "Accuracy falls, or stays, as the radius grows.")
    return Finding(rise, FLAG, f"Accuracy {words}.")


def _reaches_chance(run: _Evaluated) -> Finding:
    """D18: with budget enough, an attack that can see the gradient brings accuracy to chance."""
    columns = run.cells.index[run.cells.gradient]
    if columns.empty:
        return Finding(np.nan, FLAG, "No attack that follows the gradient was run.")
    chance = 1 / run.classes
    clean = 1 - np.nanmean(run.clean) if np.isfinite(run.clean).any() else 1.0
    if clean <= chance + run.limits["tolerance"]:
        sentence = (
            f"Clean accuracy ({clean:.1%}) is no better than chance; nothing is left to attack."
        )
        return Finding(clean, FLAG, sentence)
    left = 1 - np.nanmean(run.broken[:, columns], axis=0)
    lowest = float(left.min())
    cell = run.cells.loc[columns[left.argmin()]]
    where = f"{cell.attack} at {cell.norm} {radius_text(cell.epsilon)} leaves {lowest:.1%}"
    if lowest <= chance + run.limits["tolerance"]:
        return Finding(lowest, PASS, f"{where}, no more than chance ({chance:.1%}).")
    return Finding(
        lowest, FLAG,
        f"No radius that was run reaches chance ({chance:.1%}): {where}. Run a larger one; if that "
        "does not reach it either, the gradient is hidden.",
    )  # fmt: skip


def _union_gap(run: _Evaluated) -> Finding | None:
    """D20: if the union of attacks is far below the best of them, none is strong by itself."""
    gaps = []
    balls = run.cells[run.cells.strong & run.cells.norm.isin(BALLS)]
    for (suite, norm, epsilon), cells in balls.groupby(["suite", "norm", "epsilon"], observed=True):
        broken = run.broken[:, cells.index]
        broken = broken[~np.isnan(broken).any(axis=1)]
        if len(cells) > 1 and len(broken):
            gap = float(broken.max(axis=1).mean() - broken.mean(axis=0).max())
            gaps.append((gap, f"{suite} at {norm} {radius_text(epsilon)}"))
    return _worst(
        gaps,
        run.limits["union_gap"],
        "The union over {where} breaks {value:.1%} more images than its best attack.",
    )


def _gradient_free(run: _Evaluated) -> Finding | None:
    """D21: what a search without gradients finds inside a ball, a gradient attack must find."""
    searches = run.cells.strong & ~run.cells.gradient & run.cells.norm.isin(BALLS)
    return _missed(run, searches, "searches without gradients")


def _noise(run: _Evaluated) -> Finding | None:
    """D24: a natural change or noise inside a ball must not break what a gradient cannot."""
    return _missed(run, run.cells.norm == "severity", "natural changes and noise")


def _missed(run: _Evaluated, others: pd.Series, what: str) -> Finding | None:
    """Images that `others` break at a measured distance at which no gradient attack does."""
    shares = []
    for norm, size in run.size.items():
        size, broken = size[:, others], run.broken[:, others]
        balls = run.cells[run.cells.gradient & (run.cells.norm == norm)]
        for epsilon, cells in balls.groupby("epsilon"):
            inside = size <= epsilon + run.limits["norm_slack"]
            found = _any(np.where(inside, broken, np.nan))
            known = _any(run.broken[:, cells.index])
            both = ~(np.isnan(found) | np.isnan(known))
            if both.any():
                share = float((found[both] > known[both]).mean())
                shares.append((share, f"{norm} {radius_text(epsilon)}"))
    return _worst(
        shares,
        run.limits["tolerance"],
        f"Within {{where}}, {{value:.1%}} of the images break by {what}, but by no gradient.",
    )


def _worst(found: list[tuple[float, str]], limit: float, sentence: str) -> Finding | None:
    """The finding on the largest (value, where) that a check has measured, if any."""
    if not found:
        return None
    value, where = max(found)
    return Finding(
        value, FLAG if value > limit else PASS, sentence.format(where=where, value=value)
    )


def _replays(run: _Evaluated) -> Finding | None:
    """D27: how often an untouched image flips by the model's own randomness."""
    right = run.rows[(run.rows.attack == "clean") & ~run.rows.broken]
    if right.empty:
        return None
    share = float(right.replay_share.mean())
    status = FLAG if share > run.limits["replay_flips"] else PASS
    return Finding(
        share, status, f"Untouched images that are right flip in {share:.1%} of replays."
    )


def _lint(run: _Evaluated) -> Finding:
    """D41: the rows contradict neither themselves nor each other."""
    rows, faults = run.rows, []
    twice = len(rows) - evaluations(rows).total()
    if twice:
        faults.append(f"{twice} rows stand twice")
    wrong = rows.clean_prediction != rows.label
    lost = int((wrong & ~rows.broken & rows.norm.isin(BALLS)).sum())
    if lost:
        faults.append(f"{lost} images are wrong when clean but count as robust")
    for norm, attack, columns in run.sweeps():
        for epsilon, column in columns.items():
            gain, _ = _paired_gap(run.clean, run.broken[:, column])
            if gain > run.limits["tolerance"]:
                where = f"{attack} at {norm} {radius_text(epsilon)}"
                faults.append(f"accuracy under {where} is {gain:.1%} above the clean one")
    if faults:
        return Finding(len(faults), FAIL, f"Impossible: {'; '.join(faults)}.")
    missing = 1 - len(rows) / run.expected
    if missing > 0:
        sentence = f"{missing:.1%} of what other models had of the same attacks are missing."
        return Finding(missing, FLAG, sentence)
    sentence = "No row twice, no attacked accuracy above the clean one, equal budgets."
    return Finding(0.0, PASS, sentence)


def _twins(run: _Evaluated) -> Finding | None:
    """D42: a corrected attack breaks at least as much as the published one that it corrects."""
    cells, found = run.cells.reset_index(names="column"), []
    for twin in run.twins:
        published = cells[cells.attack == twin["published"]]
        # A correction that is run as published, to price one defect, makes no robust accuracy.
        corrected = cells[cells.strong & (cells.attack == twin["corrected"])]
        for pair in published.merge(corrected, on=["norm", "epsilon"]).itertuples():
            old, new = run.broken[:, pair.column_x], run.broken[:, pair.column_y]
            if (np.isfinite(old) & np.isfinite(new)).any():
                where = f"{pair.norm} {radius_text(pair.epsilon)}"
                found.append((*_paired_gap(old, new), pair.attack_x, pair.attack_y, where))
    if not found:
        return None
    found = pd.DataFrame(found, columns=["gap", "p", "published", "corrected", "where"])
    found["p"] = holm(found.p)
    worse = found[
        (found.gap > run.limits["tolerance"]) & (found.p < run.limits["twin_significance"])
    ]
    if worse.empty:
        sentence = "No published attack breaks significantly more images than its correction."
        return Finding(float(found.gap.max()), PASS, sentence)
    most = worse.loc[worse.gap.idxmax()]
    return Finding(
        float(most.gap),
        FLAG,
        f"{most.corrected} breaks {most.gap:.1%} fewer images than {most.published}, which it "
        f"corrects, at {most['where']} (exact p = {most.p:.2g}, corrected by Holm).",
    )


CHECKS: dict[str, Callable[[_Evaluated], Finding | None]] = {
    "D02 radii": _radii,
    "D08 zero gradients": _zero_gradients,
    "D16 more steps": _more_steps,
    "D17 monotone": _monotone,
    "D18 reaches chance": _reaches_chance,
    "D20 union gap": _union_gap,
    "D21 gradient-free": _gradient_free,
    "D24 noise": _noise,
    "D27 replays": _replays,
    "D41 lint": _lint,
    "D42 published twins": _twins,
}


def _paired_gap(weaker: np.ndarray, stronger: np.ndarray) -> tuple[float, float]:
    """Share broken by `weaker` minus by `stronger` on common images, with one-sided exact p."""
    both = ~(np.isnan(weaker) | np.isnan(stronger))
    if not both.any():
        return -1.0, 1.0
    missed = int((weaker > stronger)[both].sum())
    gained = int((stronger > weaker)[both].sum())
    p = stats.binom.sf(missed - 1, missed + gained, 0.5)
    return (missed - gained) / int(both.sum()), float(p)
