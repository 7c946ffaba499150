"""Printed results against this run's: accuracies, gains, distances, training curves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from assay.analysis.attack_set import AttackSet
from assay.analysis.ledger.agreement import Agreement, compared, cut, not_comparable
from assay.analysis.ledger.run import Row, Run, scheme_of
from assay.analysis.titles import attack_title, radius_text
from assay.foundation.radius import Radius

# What the scale may cut without another network coming out: fewer validation images choose the
# epoch more coarsely.
BY_CHANCE = ("validation_samples",)


class Wanted(NamedTuple):
    """What a printed accuracy is of, by the ids of this run."""

    dataset: str
    model: str
    attack: AttackSet


def accuracy(run: Run, row: Row) -> Agreement:
    """An accuracy, or an error rate, against the outcomes."""
    wanted = _wanted(run, row)
    if isinstance(wanted, Agreement):
        return wanted
    cells = run.cells(*wanted)
    ids = ", ".join(map(str, wanted))
    if cells.empty:
        planned = run.planned(*wanted)
        lacks = f"scale {run.study.scale} excludes" if planned else "this study does not run"
        return Agreement("not run", f"{lacks} {run.in_words(*wanted)}", compared_with=ids)
    undecided = run.undecided(cells.scheme)
    if undecided:
        return Agreement("not comparable", undecided, compared_with=ids)
    radius = radius_of(row)
    cell = cells[cells.epsilon == radius]
    if cell.empty:
        known = ", ".join(radius_text(value, run.study) for value in cells.epsilon)
        title = attack_title(run.study, wanted.attack)
        reason = f"{title} was not run at ε = {radius}, but at {known}"
        return Agreement("not run", reason, compared_with=ids)
    cell = cell.iloc[0]
    value, low, high = cell.pooled, cell.low, cell.high
    if row.metric == "error_rate":
        value, low, high = 1 - value, 1 - high, 1 - low
    found = compared(row.reported, value, low, high, run.rule["tolerance"])
    ids += f", epsilon {radius_text(cell.epsilon, run.study)}"
    found = found._replace(n=cell.n, compared_with=ids)
    better = corrected(run, row, *wanted)
    if better:
        found = found._replace(reason=f"{found.reason}; {better}")
    return _doubted(run, row, wanted, found, cell.samples, high - low)


def _wanted(run: Run, row: Row) -> Wanted | Agreement:
    """What a printed accuracy is of, or which of its words means nothing here."""
    dataset, model = run.name("datasets", row.dataset), run.model(row)
    attack = run.attack(row)
    if dataset is None:
        return run.lacking("datasets", row.dataset, "data set")
    if model is None:
        return run.lacking_model(row)
    if attack is None:
        return run.lacking("attacks", row.attack, "attack")
    return Wanted(dataset, model, attack)


def _doubted(
    run: Run, row: Row, wanted: Wanted, found: Agreement, images: float, width: float
) -> Agreement:
    """A comparison of accuracies, without a verdict where it deserves none.

    Args:
        run: this run.
        row: the printed accuracy.
        wanted: what it is of.
        found: the comparison.
        images: how many different images were tested.
        width: that of the interval.
    """
    if row.attacked == "unknown":
        return not_comparable(found, "the source does not say whether these images were attacked")
    substitute = run.substitute(wanted.dataset, wanted.model)
    if substitute:
        return not_comparable(found, substitute)
    if images < run.rule["minimum_n"]:
        return not_comparable(found, f"only {int(images)} images were tested")
    cuts = run.training_cuts(wanted.dataset, wanted.model, BY_CHANCE)
    cuts = [*cuts, *run.attack_cuts(wanted.attack)]
    if cuts:
        return cut(found, cuts)
    if found.verdict == "reproduced" and width > run.rule["widest_interval"]:
        return not_comparable(
            found, f"the interval is {width:.2f} wide: too few images for a verdict"
        )
    return found


def corrected(run: Run, row: Row, dataset: str, model: str, attack: AttackSet) -> str:
    """What the correction of a published attack gives, as a clause; empty if none."""
    for pair in run.study.corrections:
        if AttackSet.of(pair["published"]) != attack:
            continue
        other = AttackSet.of(pair["corrected"])
        cells = run.cells(dataset, model, other)
        cells = cells[cells.epsilon == radius_of(row)]
        if len(cells):
            cell = cells.iloc[0]
            value = 1 - cell.pooled if row.metric == "error_rate" else cell.pooled
            cuts = run.attack_cuts(other)
            less = f" with {', '.join(cuts)}" if cuts else ""
            title = attack_title(run.study, other)
            return f"the corrected attack, {title}, gives {value:.3f}{less}"
    return ""


def radius_of(row: Row) -> Radius:
    """The radius or severity of a printed number; 0 for clean images."""
    return Radius(row.radius or "0")


def gain(run: Run, row: Row) -> Agreement:
    """A gain of accuracy by adversarial training, printed as a least one over networks."""
    dataset, attack = run.name("datasets", row.dataset), run.attack(row)
    if dataset is None:
        return run.lacking("datasets", row.dataset, "data set")
    if attack is None:
        return run.lacking("attacks", row.attack, "attack")
    cells = run.of_scheme()
    same = (cells.dataset == dataset) & attack.among(cells)
    cells = cells[same & (cells.epsilon == radius_of(row))]
    pooled = cells.set_index("model").pooled
    gains = {
        model: pooled[model] - pooled[entry["init_from"]]
        for model, entry in run.study.models.items()
        if entry.get("init_from") in pooled.index and model in pooled.index
    }
    if not gains:
        return Agreement("not run", "no network was run with and without adversarial training")
    values = np.array(list(gains.values()))
    agrees = float(values.min() >= row.reported - run.rule["tolerance"])
    named = " and ".join(run.title("models", model) for model in gains)
    found = Agreement(
        "reproduced" if agrees else "differs",
        f"the smallest gain over {named}",
        *(float(values.min()), float(values.min()), float(values.max())),
        float(values.min() - row.reported),
        n=cells.n.min(),
        compared_with=", ".join(gains),
        agrees=agrees,
    )
    substitute = run.substitute(dataset, None)
    if substitute:
        return not_comparable(found, substitute)
    cuts = [words for model in gains for words in run.training_cuts(dataset, model, BY_CHANCE)]
    return cut(found, list(dict.fromkeys(cuts))) if cuts else found


def loss_curve(run: Run, row: Row) -> Agreement:
    """A point of a curve of the loss, within a part of the printed value."""
    margin = run.rule["relative_tolerance"] * abs(row.reported)
    return _curve(run, row, 1 if pd.isna(row.batch) else row.batch, margin)


def accuracy_curve(run: Run, row: Row) -> Agreement:
    """A point of a curve of the accuracy in training."""
    return _curve(run, row, 1, run.rule["tolerance"])


def _curve(run: Run, row: Row, images: int, margin: float) -> Agreement:
    """A point of a training curve against the mean over splits at the same epoch.

    Args:
        run: this run; its histories have a column for each metric of a curve.
        row: the printed point.
        images: how many images the printed number is the sum over.
        margin: what widens the range over splits.
    """
    dataset, model = run.name("datasets", row.dataset), run.model(row)
    mine = [key for key in run.history if run.ours(key, dataset, model)]
    histories = [run.history[key] for key in mine]
    if not histories:
        return Agreement("not run", f"this run has no training history of '{row.model}'")
    undecided = run.undecided(map(scheme_of, mine))
    if undecided:
        return Agreement("not comparable", undecided)
    values = [
        float(history[row.metric].iloc[row.epoch])
        for history in histories
        if row.metric in history and len(history) > row.epoch
    ]
    ids = f"{dataset}, {model}, {row.metric}"
    if not values:
        longest = max(map(len, histories))
        return Agreement("not run", f"trained for {longest} epochs only", compared_with=ids)
    values = float(images) * np.asarray(values)
    found = compared(row.reported, values.mean(), values.min(), values.max(), margin)
    splits = f"range over {len(values)} split{'s' if len(values) > 1 else ''}"
    found = found._replace(reason=f"{found.reason} ({splits})", compared_with=ids)
    substitute = run.substitute(dataset, model)
    if substitute:
        return not_comparable(found, substitute)
    # An epoch is the same one whatever comes after it.
    cuts = run.training_cuts(dataset, model, ("epochs", *BY_CHANCE))
    return cut(found, cuts) if cuts else found


def mean_distance(run: Run, row: Row) -> Agreement:
    """The mean distance of the closest misclassified images."""
    return _distance(run, row, "mean")


def median_distance(run: Run, row: Row) -> Agreement:
    """The median distance of the closest misclassified images."""
    return _distance(run, row, "median")


def _distance(run: Run, row: Row, statistic: str) -> Agreement:
    """A distance of the closest misclassified images, which the print has by PGD."""
    dataset, model = run.name("datasets", row.dataset), run.model(row)
    mine = run.distances
    if len(mine):
        mine = mine[
            (mine.dataset == dataset) & (mine.model == model) & (mine.norm == row.norm.lower())
        ]
    if mine.empty:
        for kind, word, name, what in (
            ("datasets", row.dataset, dataset, "data set"),
            ("models", row.model, model, "model"),
        ):
            if name is None:
                return run.lacking(kind, word, what)
        return Agreement(
            "not run", f"this run has no distances of '{row.model}' on '{row.dataset}'"
        )
    found = mine.iloc[0]
    attacks = " and ".join(run.title("attacks", name) for name in found.attacks.split(", "))
    return Agreement(
        "not comparable",
        "the paper does not describe its search for the radius; here it is the distance to the "
        f"closest misclassified image under {attacks}",
        reproduced=float(found[statistic]),
        n=found.n,
        compared_with=f"{dataset}, {model}",
    )
