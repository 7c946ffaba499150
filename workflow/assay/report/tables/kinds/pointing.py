"""Whether saliency maps point at lesions whose place is known: a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from assay.analysis.effort import counterpart_of, effort_sentence
from assay.analysis.families import ALPHA, holm
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.intervals import bonett_price, wilson
from assay.analysis.mcnemar import exact_p
from assay.analysis.rows import PLACE
from assay.analysis.titles import SALIENCY_METHODS, radius_text, title_of
from assay.foundation.errors import ConfigError
from assay.foundation.keys import ABSENT
from assay.foundation.split import Split
from assay.report.needs import Measured, Need
from assay.report.spec import Datasets, Models, TableSpec
from assay.report.tables.parts import (
    Study,
    Table,
    caption_of,
    models_of,
    p_text,
    place_columns,
)
from assay.report.tables.words import with_inconclusive


@dataclass(frozen=True, kw_only=True)
class Spec(TableSpec):
    """Whether saliency maps point at known lesions."""

    models: Models
    datasets: Datasets = ABSENT


def needs(spec: Spec) -> list[Need]:
    """What the study must store."""
    return [Measured("saliency", tuple(spec.models), "models")]


_BLOCK = [*PLACE, "epsilon", "method"]


def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """How often maps peak in the lesion and how much of them lies there, against chance.

    Each network is compared with itself after ordinary training, where the table has that, else
    with the table's first network, on the same images (McNemar).
    """
    models = models_of(spec, inputs)
    tidy, hits = _measured(spec, models, inputs)
    if tidy.empty:
        raise ConfigError(
            "there is no saliency map of images with known lesions",
            where=f"table '{spec.title or spec.kind}' of the study",
            remedy="put a data set with masks, such as phantom, and these models into the grid",
        )
    order = {model: place for place, model in enumerate(models)}
    tidy = tidy.sort_values(
        [*PLACE, "model"], key=lambda c: c.map(order) if c.name == "model" else c, kind="stable"
    ).reset_index(drop=True)
    tidy["low"], tidy["high"] = wilson(tidy.hits, tidy.n)
    compared = [_compared(row, tidy, hits, study) for row in tidy.itertuples()]
    tidy = pd.concat([tidy, pd.DataFrame(compared)], axis=1)
    tidy["holm_p"] = holm(tidy.p)
    display = pd.DataFrame(
        {
            **place_columns((row.dataset, row.scheme), tidy, study),
            "Model": title_of(study, "models", row.model),
            "Images": f"attacked, ε = {radius_text(row.epsilon, study)}"
            if row.epsilon
            else "unperturbed",
            "Map": SALIENCY_METHODS[row.method],
            "Peak in the lesion": f"{row.hits}/{row.n}: {row.hits / row.n:.3f} "
            f"[{row.low:.3f}, {row.high:.3f}]",
            "Compared with": title_of(study, "models", row.compared_with) or "–",
            "Difference": _difference(row),
            "Holm p": p_text(row.holm_p),
            "Share in the lesion": f"{row.mass:.3f}",
            "Lesion's share of the image": f"{row.chance:.3f}",
            "Decided wrongly": f"{row.wrong}/{row.n}",
        }
        for row in tidy.itertuples()
    )
    shown = tidy[["dataset", "scheme", "model", "n", "splits"]]
    legend = " ".join(
        filter(
            None,
            [
                "Peak in the lesion (pointing game): how often the largest value of the smoothed "
                "map lies inside the known mask of the lesion. Brackets hold Wilson's 95 % "
                "interval. Share in the lesion: the share of the map's sum inside the mask. A map "
                "without relation to the lesion is expected to have the lesion's share of the "
                "image in both.",
                _wrong_sentence(tidy, study),
                "Difference: this network minus the network in the column Compared with, on the "
                "same images, with its 95 % interval. Holm p: McNemar's exact test with Holm's "
                "correction over this table.",
                _verdict_sentence(tidy),
                "Only the first split of each scheme is shown.",
                effort_sentence(inputs.effort, shown, study),
            ],
        )
    )
    return Table(display, tidy, caption_of(spec, legend, study, inputs, shown))


def _measured(
    spec: Spec, models: list[str], inputs: AnalysisInputs
) -> tuple[pd.DataFrame, Mapping[tuple, pd.Series]]:
    """One row per network, images and kind of map, and by the same names the hits of each image."""
    rows: list[dict[str, Any]] = []
    hits: dict[tuple, pd.Series] = {}
    for key in sorted(inputs.networks("saliency"), key=lambda key: key[:2]):
        dataset, split, model = key
        if model not in models or dataset not in (spec.datasets or [dataset]):
            continue
        stored = inputs.arrays("saliency", key)
        if "lesion_share" not in stored:
            continue
        known = ~np.isnan(stored["lesion_share"])
        # Maps are made of the first images alone, predictions of all.
        first = np.flatnonzero(known)
        wrong = stored["predictions"][:, first] != stored["labels"][first]
        for version, epsilon in enumerate(stored["epsilons"]):
            for method in SALIENCY_METHODS:
                hit = stored[f"pointing/{method}"][version, known]
                place = (dataset, Split.of(split).scheme, float(epsilon), method)
                hits[(*place, model)] = pd.Series(hit.astype(bool), index=stored["samples"][first])
                rows.append(
                    {
                        "dataset": dataset,
                        "scheme": place[1],
                        "model": model,
                        "epsilon": float(epsilon),
                        "method": method,
                        "hits": int(hit.sum()),
                        "n": int(known.sum()),
                        "mass": float(stored[f"mass/{method}"][version, known].mean()),
                        "chance": float(stored["lesion_share"][known].mean()),
                        "wrong": int(wrong[version].sum()),
                        "splits": 1,
                    }
                )
    return pd.DataFrame(rows), hits


def _compared(
    row: Any, tidy: pd.DataFrame, hits: Mapping[tuple, pd.Series], study: Study
) -> dict[str, Any]:
    """A row's network against itself after ordinary training, or against the table's first one."""
    place = tuple(getattr(row, name) for name in _BLOCK)
    there = [model for model in dict.fromkeys(tidy.model) if (*place, model) in hits]
    other = counterpart_of(row.model, there, study) or there[0]
    nothing = dict.fromkeys(("difference", "difference_low", "difference_high", "p"), np.nan)
    if other == row.model:
        return {"compared_with": "", "paired_n": 0, "only_here": 0, "only_there": 0, **nothing}
    both = pd.concat([hits[(*place, row.model)], hits[(*place, other)]], axis=1).dropna()
    here, reference = both[0].astype(bool), both[1].astype(bool)
    only_here, only_there = int((here & ~reference).sum()), int((~here & reference).sum())
    low, high = bonett_price(only_here, only_there, len(both))
    return {
        "compared_with": other,
        "paired_n": len(both),
        "only_here": only_here,
        "only_there": only_there,
        "difference": (only_here - only_there) / max(len(both), 1),
        "difference_low": low,
        "difference_high": high,
        "p": exact_p(only_here, only_there),
    }


def _difference(row: Any) -> str:
    if pd.isna(row.difference):
        return "–"
    text = f"{row.difference:+.3f} [{row.difference_low:+.3f}, {row.difference_high:+.3f}]"
    return text if row.paired_n == row.n else f"{text} (n = {row.paired_n})"


def _wrong_sentence(tidy: pd.DataFrame, study: Study) -> str:
    """What the maps of attacked images explain."""
    attacked = tidy[tidy.epsilon > 0].drop_duplicates([*PLACE, "model", "epsilon"])
    sentences = "A map explains the predicted class."
    if attacked.empty:
        return sentences
    name = study.measurements.get("saliency", {}).get("attack", "")
    attack = title_of(study, "attacks", name) if name else "the attack"
    wrong, total = int(attacked.wrong.sum()), int(attacked.n.sum())
    return f"{sentences} After {attack}, it is a wrong class in {wrong} of {total} predictions."


def _verdict_sentence(tidy: pd.DataFrame) -> str:
    """How many of the comparisons tell two networks apart."""
    known = tidy[tidy.holm_p.notna()]
    if known.empty:
        return ""
    shown = known.holm_p <= ALPHA
    more, fewer = (int((shown & (known.difference * sign > 0)).sum()) for sign in (1, -1))
    rest = len(known) - more - fewer
    sentences = (
        f"Of {len(known)} comparisons, {more} show significantly more peaks in the lesion and "
        f"{fewer} significantly fewer"
    )
    return with_inconclusive(sentences, rest)
