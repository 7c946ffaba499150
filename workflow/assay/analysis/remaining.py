"""What is left of a defence beside its base network: route by route, and in the worst case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from assay.analysis.intervals import wilson
from assay.analysis.mcnemar import exact_p
from assay.analysis.newcombe import newcombe_paired
from assay.analysis.paired import repeated_schemes
from assay.analysis.rows import of_one_suite, with_scheme

# The columns of outcomes that are looked at here.
NEEDED = (
    "dataset", "split", "model", "suite", "attack", "norm", "epsilon", "sample", "misclassified",
    "route",
)  # fmt: skip
# What a row counts: the images that an attack fools through one view, through any view, or that
# any attack fools through any view.
ROUTE, ATTACK, ALL = "route", "attack", "all"
MEMBERS = ("model", "base")
COLUMNS = (
    "dataset", "scheme", "model", "base", "norm", "epsilon", "over", "attack", "route", "attacks",
    "left_out", "n", "samples", "splits", "accuracy", "low", "high", "lowest_average",
    "base_accuracy", "base_low", "base_high", "only_model_right", "only_base_right", "difference",
    "difference_low", "difference_high", "exact_p",
)  # fmt: skip


def remaining(defence: pd.DataFrame, base: pd.DataFrame, attacks: Sequence[str]) -> pd.DataFrame:
    """A defence and its base network under the same attacks, on the same images.

    All rows of a radius are on the images on which both networks were evaluated under every attack
    that both met, so that no row is more accurate than one whose attacks it contains.

    Args:
        defence: rows of the outcome schema of one model, single routes among them.
        base: such rows of its base network on the same data set; of these, single routes are not
            looked at.
        attacks: ids of the attacks that count, in the order of the result.

    Returns:
        For each split scheme, norm and epsilon, for each attack a row for each view that was
        searched on its own (over ``route``) and one for the worst case over views (``attack``), at
        last the worst case over all attacks (``all``), each per image. attacks: how many count;
        left_out: ids of those that one of the networks, or both, did not meet at this radius.
        accuracy, low, high (Wilson) of the defence; lowest_average: the lowest accuracy among the
        single routes that the row contains (an attack without rows of single routes counts as one),
        NaN where it contains one only; base_accuracy, base_low, base_high. Of the pairs of images:
        only_model_right, only_base_right, difference (defence - base) with its 95 % interval
        (:func:`assay.analysis.newcombe.newcombe_paired`) and exact_p, McNemar's exact test. Rows of
        single routes have no base. Where an image is tested in several splits, pairs are not
        independent: interval and p are NaN.
    """
    rows = pd.concat(
        [defence.assign(member="model"), base.assign(member="base")], ignore_index=True
    )
    rows = rows[rows.attack.isin(attacks) & ((rows.member == "model") | (rows.route == ""))]
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    names = ["dataset", "split", "suite", "attack", "norm", "route"]
    rows = with_scheme(rows.astype(dict.fromkeys(names, str)), routes=True)
    repeated = repeated_schemes(rows)
    rows = of_one_suite(rows, ["member", "split", "attack", "norm", "epsilon", "route", "sample"])
    names = {"model": str(defence.model.iloc[0]), "base": str(base.model.iloc[0])}
    found = []
    for place, cell in rows.groupby(["dataset", "scheme", "norm", "epsilon"]):
        dataset, scheme, norm, epsilon = place
        ids = {"dataset": dataset, "scheme": str(scheme), "norm": norm, "epsilon": epsilon}
        independent = (dataset, scheme) not in repeated
        found += [{**ids, **names, **row} for row in _block(cell, attacks, independent)]
    return pd.DataFrame(found, columns=list(COLUMNS))


def _block(cell: pd.DataFrame, attacks: Sequence[str], independent: bool) -> Iterator[dict]:
    """The rows of one radius."""
    order = {name: place for place, name in enumerate(dict.fromkeys(cell.route))}
    wrong = cell.pivot(
        index=["split", "sample"], columns=["member", "attack", "route"], values="misclassified"
    )
    met = [{member for member in MEMBERS if (member, a, "") in wrong} for a in attacks]
    both = [a for a, members in zip(attacks, met, strict=True) if len(members) == 2]
    left_out = ", ".join(a for a, members in zip(attacks, met, strict=True) if len(members) < 2)
    worst = [(member, attack, "") for member in MEMBERS for attack in both]
    wrong = wrong[wrong[worst].notna().all(axis=1)] if both else wrong.iloc[:0]
    if wrong.empty:
        return
    images = wrong.index
    shared = {
        "n": len(images),
        "samples": images.get_level_values("sample").nunique(),
        "splits": images.get_level_values("split").nunique(),
        "left_out": left_out,
    }
    averages = []
    for attack in both:
        routes = [
            name for _, name in wrong["model"][[attack]].columns
            if name and wrong["model", attack, name].notna().all()
        ]  # fmt: skip
        own = []
        for route in sorted(routes, key=order.__getitem__):
            one = _accuracy(wrong["model", attack, route], shared["samples"])
            own.append(one["accuracy"])
            yield {**shared, "over": ROUTE, "attack": attack, "route": route, "attacks": 1, **one}
        ids = {"over": ATTACK, "attack": attack, "route": "", "attacks": 1}
        fooled, beside = (wrong[member, attack, ""] for member in MEMBERS)
        row = _compared(fooled, beside, shared["samples"], independent)
        averages += own or [row["accuracy"]]
        yield {**shared, **ids, "lowest_average": min(own) if len(own) > 1 else np.nan, **row}
    ids = {"over": ALL, "attack": "", "route": "", "attacks": len(both)}
    fooled, beside = (
        wrong[[key for key in worst if key[0] == member]].any(axis=1) for member in MEMBERS
    )
    lowest = min(averages) if len(averages) > 1 else np.nan
    row = _compared(fooled, beside, shared["samples"], independent)
    yield {**shared, **ids, "lowest_average": lowest, **row}


def _accuracy(wrong: pd.Series, samples: int, before: str = "") -> dict[str, float]:
    right = 1 - float(wrong.astype(bool).mean())
    low, high = wilson(right * samples, samples)
    return {f"{before}accuracy": right, f"{before}low": float(low), f"{before}high": float(high)}


def _compared(model: pd.Series, base: pd.Series, samples: int, independent: bool) -> dict[str, Any]:
    """The defence beside its base, of (N,) whether each image is misclassified."""
    model, base = model.astype(bool), base.astype(bool)
    only_model, only_base = int((base & ~model).sum()), int((model & ~base).sum())
    neither = int((model & base).sum())
    both, n = len(model) - only_model - only_base - neither, len(model)
    low, high = newcombe_paired(both, only_model, only_base, neither)
    return {
        **_accuracy(model, samples),
        **_accuracy(base, samples, "base_"),
        "only_model_right": only_model,
        "only_base_right": only_base,
        "difference": (only_model - only_base) / n,
        "difference_low": low if independent else np.nan,
        "difference_high": high if independent else np.nan,
        "exact_p": exact_p(only_model, only_base) if independent else np.nan,
    }
