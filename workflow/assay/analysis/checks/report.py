"""Runs every check on every model and norm, and sums them up in a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from assay.analysis.accuracy import BALLS
from assay.analysis.checks import lint, others, strength
from assay.analysis.checks.evaluated import VERDICT_NORMS, Attack, Evaluated
from assay.analysis.checks.findings import FAIL, FLAG, ORDER, PASS, WEAK, Finding
from assay.analysis.checks.importance import importance_check
from assay.analysis.rows import ATTACKED, PLACE, group_index, with_scheme
from assay.foundation.radius import Labels

COLUMNS = ("dataset", "scheme", "model", "norm", "check", "figure", "status", "sentence")
# The columns of outcomes that are looked at here.
NEEDED = (
    "dataset",
    "split",
    "model",
    "suite",
    "attack",
    "norm",
    "epsilon",
    "sample",
    "label",
    "clean_prediction",
    "misclassified",
    "misclassified_share",
    "linf",
    "l2",
    "l0",
    "forwards",
    "backwards",
    "zero_gradients",
    "non_finite",
    "scores",
)
THRESHOLDS = {
    # Absolute slack of a radius, for the rounding of float32 pixels.
    "norm_slack": 1e-6,
    # Differences of accuracy up to this are not held against an attack.
    "tolerance": 0.01,
    # Level of the exact tests, after Holm's correction over a check's tests of one model and norm.
    "significance": 0.05,
    # A worst case that leaves at most this share leaves nothing to doubt at its radius.
    "nothing_left": 0.05,
    "zero_gradient_flag": 0.01,
    "zero_gradient_fail": 0.5,
    "worst_case_gap": 0.03,
    "prediction_flips": 0.05,
    # A published attack that fools more than its correction flags below this corrected p-value.
    "correction_significance": 0.05,
    # Median effective sample size of importance sampling, as a share of the samples.
    "importance_share": 0.1,
}
# The verdict of the worst status, the best first.
VERDICT_OF = {PASS: "sound", WEAK: "under-powered", FLAG: "suspect", FAIL: "broken"}
VERDICTS = tuple(VERDICT_OF.values())

Check = Callable[[Evaluated, str], Finding | None]
# Each check and the norms of verdicts that it speaks of.
CHECKS: dict[str, dict[str, Check]] = {
    "D02 radii": dict.fromkeys((*BALLS, "corruptions", "clean"), lint.radii),
    "D08 zero gradients": dict.fromkeys(BALLS, lint.zero_gradients),
    "D16 more steps": dict.fromkeys(BALLS, strength.more_steps),
    "D17 monotone": {**dict.fromkeys(BALLS, strength.monotone), "corruptions": strength.severity},
    "D18 reaches chance": dict.fromkeys(BALLS, strength.reaches_chance),
    "D20 worst-case gap": dict.fromkeys(BALLS, strength.worst_case_gap),
    "D21 gradient-free": dict.fromkeys(BALLS, others.gradient_free),
    "D24 noise": dict.fromkeys(BALLS, others.noise),
    "D27 repeats": dict.fromkeys(("corruptions", "clean"), lint.repeats),
    "D41 lint": dict.fromkeys((*BALLS, "corruptions", "clean"), lint.lint),
    "D42 published and corrected": dict.fromkeys(BALLS, others.published_and_corrected),
}
IMPORTANCE = "D34 importance samples"


def checks(
    outcomes: pd.DataFrame,
    thresholds: Mapping[str, float] | None = None,
    corrections: Sequence[Mapping[str, str]] = (),
    expected: Mapping[tuple[str, str, str, str], int] | None = None,
    skipped: Mapping[str, Collection[str]] | None = None,
    attacks: Mapping[str, Mapping[str, Any]] | None = None,
    importance: pd.DataFrame | None = None,
    labels: Labels | None = None,
) -> pd.DataFrame:
    """Runs every check on every model, in each norm apart.

    Args:
        outcomes: rows of the outcome schema.
        thresholds: values that replace those of :data:`THRESHOLDS`
            (config/config.yaml, ``checks``).
        corrections: mappings with ``published`` and ``corrected`` (attack ids): the pairs of the
            study's tables of defects.
        expected: evaluations (split, image, budget) of each attack that the models of a data set
            and split scheme have together, as :func:`evaluations` gives them; counted in `outcomes`
            where they are not given.
        skipped: attacks of their suites that do not run on a model, by model.
        attacks: catalogue entries by id: title, implementation, settings, norm, role, single_step,
            and maybe ``scaled``, what the scale changed (dotted key to [value here, value in the
            catalogue]). An attack without an entry has the role ``headline``.
        importance: effective sample sizes (dataset, split, model, sample, ess), where a model's
            likelihood is estimated by importance sampling; see :func:`importance_check`.
        labels: how the study writes its radii.

    Returns:
        One row per data set, split scheme, model, norm (linf | l2 | l0 | natural | clean) and check
        that applies: figure (a share, unless the sentence says otherwise), status (pass | weak |
        flag | fail), sentence.
    """
    limits = {**THRESHOLDS, **(thresholds or {})}
    _, first = group_index(outcomes.dataset)
    names = outcomes.dataset.iloc[first]
    classes = dict(zip(names, map(len, outcomes.scores.iloc[first]), strict=True))
    outcomes = with_scheme(outcomes.drop(columns="scores"))
    expected = evaluations(outcomes) if expected is None else expected
    norms, labels = _norms(outcomes, attacks or {}), labels or Labels()
    rows = []
    for (*place, model), mine in outcomes.groupby([*PLACE, "model"], observed=True, sort=False):
        entries = {
            name: Attack.of(name, (attacks or {}).get(name), place[0])
            for name in {*mine.attack, *(attacks or {})}
        }
        missing = _missing(mine, place, expected, (skipped or {}).get(model, ()), norms)
        run = Evaluated(mine, missing, classes[place[0]], limits, corrections, entries, labels)
        rows += [
            (*place, model, norm, check, *finding)
            for norm in run.norms
            for check, finding in _findings(run, norm)
        ]
    rows += _importance(importance, limits)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _findings(run: Evaluated, norm: str):
    for check, by_norm in CHECKS.items():
        finding = by_norm[norm](run, norm) if norm in by_norm else None
        if finding:
            yield check, finding


def _importance(frame: pd.DataFrame | None, limits: Mapping[str, float]) -> list[tuple]:
    if frame is None:
        return []
    rows = []
    for ids, mine in with_scheme(frame.assign(epsilon=0.0)).groupby(
        [*PLACE, "model"], observed=True, sort=False
    ):
        finding = importance_check(mine, limits["importance_share"])
        if finding:
            rows.append((*ids, "clean", IMPORTANCE, *finding))
    return rows


def _norms(
    outcomes: pd.DataFrame, attacks: Mapping[str, Mapping[str, Any]]
) -> dict[tuple[str, str], str]:
    """The norm of each (suite, attack) that ran or whose entry is known."""
    _, first = group_index(outcomes.suite, outcomes.attack)
    ran = outcomes.iloc[first]
    names = zip(ran.suite, ran.attack, strict=True)
    found = dict(zip(names, ran.norm, strict=True))
    suites = dict.fromkeys(ran.suite)
    entries = {
        (suite, name): entry["norm"]
        for suite in suites
        for name, entry in attacks.items()
        if entry.get("norm")
    }
    return {**entries, **found}


def _missing(
    mine: pd.DataFrame,
    place: Sequence[str],
    expected: Mapping[tuple[str, str, str, str], int],
    skipped: Collection[str],
    norms: Mapping[tuple[str, str], str],
) -> dict[str, float]:
    """By norm of verdicts, the share of evaluations that other models had of the same attacks.

    A suite that a model was never meant to run is not missing; an attack of one that ran is.
    """
    ran = mine.groupby(["suite", "norm"], observed=True).size()
    suites: dict[str, list[str]] = {}
    for suite, norm in ran.index:
        suites.setdefault(suite, []).append(norm)
    wanted: Counter[str] = Counter()
    for (*where, suite, attack), count in expected.items():
        if where == list(place) and suite in suites and attack not in skipped:
            # An attack that nothing is known of belongs where its suite does.
            for norm in [norms[suite, attack]] if (suite, attack) in norms else suites[suite]:
                wanted[norm] += count
    had = ran.groupby(level="norm", observed=True).sum()
    return {
        VERDICT_NORMS[norm]: max(0.0, 1 - had.get(norm, 0) / count)
        for norm, count in wanted.items()
        if count
    }


def verdict(frame: pd.DataFrame) -> pd.DataFrame:
    """One word per model and norm: can its accuracies there be trusted?

    Args:
        frame: the frame of :func:`checks`.

    Returns:
        One row per data set, split scheme, model and norm: verdict (``broken`` if any check fails,
        else ``suspect`` if any flags, else ``under-powered`` if any cannot tell, else ``sound``)
        and because (the checks that decided, empty if sound).
    """
    rows = []
    names = [*PLACE, "model", "norm"]
    for ids, mine in frame.groupby(names, observed=True, sort=False):
        worst = min(mine.status, key=ORDER.__getitem__)
        because = "" if worst == PASS else ", ".join(mine.check[mine.status == worst])
        rows.append((*ids, VERDICT_OF[worst], because))
    return pd.DataFrame(rows, columns=[*names, "verdict", "because"])


def evaluations(outcomes: pd.DataFrame) -> Counter[tuple[str, str, str, str]]:
    """How many evaluations (split, image, budget) any model had, by :data:`ATTACKED`."""
    rows = with_scheme(outcomes)
    _, first = group_index(*(rows[name] for name in lint.EVALUATION))
    return Counter(rows[ATTACKED].iloc[first].groupby(ATTACKED, observed=True).size().to_dict())
