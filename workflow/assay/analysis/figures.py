"""Figures: one function per kind named in a study file, from written results to a drawing.

A figure has no title of its own: what it shows, how to read it, n, splits, seed and scale stand in
its caption, which :func:`caption` writes. Series differ by colour and by marker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from assay.analysis import array_figures as arrays
from assay.analysis import saliency
from assay.analysis.families import EXPLORATORY
from assay.analysis.figure_parts import (
    RADIUS_LABELS,
    WIDTH,
    Spec,
    Study,
    check_radii,
    nothing_to_draw,
    plural,
    span,
    styled,
    wrapped,
)
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.style import (
    COMPARED,
    FAINT,
    GREY,
    Look,
    attack_title,
    looks,
    radius_text,
    short_table,
    style,
    title_of,
)
from assay.analysis.table_parts import p_text
from assay.foundation.errors import ConfigError
from assay.foundation.files import atomic_path

WIDE = 30  # times the smallest radius: from there on an axis is logarithmic
_DIFFERS = {True: "#cfe8dd", False: "#f6d9c4"}  # by whether the row's model is better
PAGE_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

PART_TITLES = {
    "loss": "Loss",
    "reconstruction": "Reconstruction",
    "kl": "KL divergence",
    "classification": "Classification",
    "accuracy": "Accuracy",
}


def draw_figure(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """The figure that a study's entry describes; the entry's ``kind`` chooses the function.

    Raises:
        ConfigError: the kind is unknown, or there is nothing to draw.
    """
    return _of_kind(spec)[0](spec, study, inputs)


def caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> str:
    """What the figure shows and how to read it; ends with scale, n, splits, seed and stand-ins."""
    text, counts = _of_kind(spec)[1](spec, study, inputs)
    stand_ins: dict[str, list[str]] = {}
    for kind in ("datasets", "models"):
        for theirs, ours in study.get("stand_ins", {}).get(kind, {}).items():
            if ours in set(inputs.accuracy[kind[:-1]]):
                stand_ins.setdefault(title_of(study, kind, ours), []).append(theirs)
    said = [f"{ours} stands in for {' and '.join(all_)}." for ours, all_ in stand_ins.items()]
    return " ".join([text, *said, f"Scale {inputs.scale}; {counts}; seed {inputs.seed}."])


def save_figure(figure: Figure, stem: Path | str) -> list[Path]:
    """Writes `stem`.svg and `stem`.pdf; the same figure gives the same bytes, without a date.

    Returns:
        The two paths.
    """
    stem = Path(stem)
    svg, pdf = stem.with_name(f"{stem.name}.svg"), stem.with_name(f"{stem.name}.pdf")
    with style():
        with atomic_path(svg) as temporary:
            figure.savefig(temporary, metadata={"Date": None})
            # Placed with DejaVu Sans, shown in the reader's own interface font, which is narrower.
            text = temporary.read_text(encoding="utf-8").replace("'DejaVu Sans'", PAGE_FONTS)
            temporary.write_text(text, encoding="utf-8")
        with atomic_path(pdf) as temporary:
            figure.savefig(temporary, metadata={"CreationDate": None})
    return [svg, pdf]


# --- training curves ------------------------------------------------------------------------


@styled
def training_curves(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """Losses by part and accuracy over epochs; splits thin, their mean thick, the paper's grey."""
    trainings = _trainings(spec["models"], inputs)
    panels = [
        (place, model, part, histories)
        for (*place, model), histories in trainings.items()
        for part in _history_parts(histories)
    ]
    if not panels:
        raise nothing_to_draw(spec, f"no training history of {spec['models']}")
    reported = _reported_curves(spec, study, inputs)
    where = _where({(dataset, scheme) for dataset, scheme, _ in trainings}, study)
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure((WIDTH, 0.35 + 1.95 * rows), layout="constrained")
    figure.get_layout_engine().set(wspace=0.08)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    sides = {
        "train": (Look("#0072b2", "o"), "-", "training"),
        "val": (Look("#d55e00", "s"), "--", "validation"),
    }
    for axes, (place, model, part, histories) in zip(grid, panels, strict=False):
        for side, (look, line, _) in sides.items():
            column = f"{side}_{part}"
            curves = pd.concat(
                [h.set_index("epoch")[column] for h in histories if column in h], axis=1
            )
            axes.plot(curves.index, curves, line, color=look.colour, lw=0.6, alpha=0.45)
            # A single epoch is a point, which a line alone would not show.
            mark = look.marker if len(curves) == 1 else ""
            mean = curves.mean(axis=1)
            axes.plot(curves.index, mean, line, color=look.colour, lw=1.8, marker=mark)
            known = reported.get((model, column))
            if known is not None and _compared(study, place[1]):
                axes.plot(
                    known.index + curves.index.min(),
                    known,
                    ":",
                    color=GREY,
                    lw=1.1,
                    marker=look.marker,
                    markersize=3.5,
                    markerfacecolor="white",
                )
        title = [title_of(study, "models", model)] if len(spec["models"]) > 1 else []
        title = [*where(*place), *title]
        prefix = f"{', '.join(title)}: " if title else ""
        axes.set_title(prefix + PART_TITLES.get(part, part.replace("_", " ").capitalize()))
        axes.set_xlabel("epoch")
        axes.set_ylabel("accuracy" if part == "accuracy" else "nats per image")
        left, right = axes.get_xlim()
        axes.set_xlim(min(left, -0.5 + axes.dataLim.x0), max(right, 0.5 + axes.dataLim.x1))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    handles = [
        Line2D([], [], ls=line, color=look.colour, lw=1.8, label=name)
        for look, line, name in sides.values()
    ]
    if reported:
        handles += [
            Line2D(
                [],
                [],
                ls=":",
                color=GREY,
                marker=look.marker,
                markersize=3.5,
                lw=1.1,
                markerfacecolor="white",
                label=f"{name}, as printed",
            )
            for look, _, name in sides.values()
        ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure


def _training_curves_caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> tuple[str, str]:
    names = ", ".join(title_of(study, "models", model) for model in spec["models"])
    text = (
        f"Training (solid) and validation (dashed) curves of {names}: the loss and its parts in "
        "nats per image, and the accuracy. Thin lines are single splits, the thick line is their "
        "mean."
    )
    if _reported_curves(spec, study, inputs):
        batch = _batch_of(_reported_rows(spec, inputs))
        text += " Grey dots: the paper's own curve, digitised"
        text += f", its sums over a batch divided by {batch}." if batch > 1 else "."
    facts = [f for (_, _, name), f in inputs.facts.items() if name in spec["models"]]
    sizes = [
        f"n = {span(pd.Series([f[key] for f in facts]))} {words} images per split"
        for key, words in (("train_n", "training"), ("val_n", "validation"))
        if facts and all(key in f for f in facts)
    ]
    splits = len({key[:2] for key in inputs.history if key[2] in spec["models"]})
    return (
        f"{text} Curves say how training went, not how robust the model is.",
        "; ".join([*sizes, plural(splits, "split")]),
    )


def _trainings(
    models: Iterable[str], inputs: AnalysisInputs
) -> dict[tuple[str, str, str], list[pd.DataFrame]]:
    """Histories of all splits by (data set, split scheme, model), model by model."""
    found: dict[tuple[str, str, str], list[pd.DataFrame]] = {}
    for model in models:
        for (dataset, split, name), history in sorted(inputs.history.items()):
            if name == model:
                key = dataset, split.rpartition("_")[0], model
                found.setdefault(key, []).append(history)
    return found


def _history_parts(histories: list[pd.DataFrame]) -> list[str]:
    """The measured quantities in reading order: the loss, its parts, the accuracy."""
    if not histories:
        return []
    names = [c.removeprefix("train_") for c in histories[0] if c.startswith("train_")]
    inner = [name for name in names if name not in ("loss", "accuracy", "total")]
    return [name for name in ("loss", *inner, "accuracy") if name in names]


def _reported_curves(
    spec: Spec, study: Study, inputs: AnalysisInputs
) -> dict[tuple[str, str], pd.Series]:
    """Printed curves by (model, column), each over epochs counted from zero."""
    rows = _reported_rows(spec, inputs)
    parsed = rows["metric"].str.extract(r"^(\w+)@epoch(\d+)$")
    rows = rows.assign(column=parsed[0], epoch=pd.to_numeric(parsed[1]))
    rows = rows[rows["column"].notna()]
    batch = _batch_of(rows)
    curves = {}
    for (model, column), group in rows.groupby(["model", "column"]):
        values = group.set_index("epoch")["value"].sort_index()
        name = _our_name(study, "models", model)
        curves[name, column] = values / batch if column.endswith("_loss") else values
    return curves


def _batch_of(rows: pd.DataFrame) -> int:
    """The batch size over which printed losses are summed, by the rows' own notes; else 1."""
    sizes = rows["note"].fillna("").str.extract(r"sum of a batch of (\d+)")[0].dropna()
    return int(sizes.iloc[0]) if len(sizes) else 1


# --- paired tests of all models ----------------------------------------------------------------


@styled
def mcnemar_matrix(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """For each attack a matrix of pairs of models: difference in accuracy and corrected p-value."""
    panels = _mcnemar_panels(spec, study, inputs)
    models = _models(spec, study, inputs)
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    side = WIDTH / columns
    figure = Figure((WIDTH, rows * (side * 0.95 + 0.4)), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    names = [wrapped(title_of(study, "models", model), 12) for model in models]
    for axes, (title, pairs) in zip(grid, panels, strict=False):
        for i, first in enumerate(models):
            for j, second in enumerate(models):
                row = pairs.get((first, second))
                if row is None:
                    if i != j:
                        axes.text(j, i, "not run", ha="center", va="center", fontsize=7, color=GREY)
                    continue
                difference, p, significant = row
                colour = "#ffffff" if not significant else _DIFFERS[difference > 0]
                axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, color=colour, lw=0))
                points = f"{100 * difference + 0.0:+.1f}".replace("-", "−")
                axes.text(
                    j, i, f"{points}\n{p_text(p)}", ha="center", va="center", fontsize=7.5,
                    fontweight="bold" if significant else "normal", linespacing=1.25,
                )  # fmt: skip
        axes.set_xticks(range(len(models)), names, fontsize=7, rotation=90)
        axes.set_yticks(range(len(models)), names, fontsize=7)
        axes.set(xlim=(-0.5, len(models) - 0.5), ylim=(len(models) - 0.5, -0.5), aspect="equal")
        axes.grid(False)
        axes.set_title(title, fontsize=8.5)
        axes.set_xlabel("than this model")
    for axes in grid[::columns]:
        axes.set_ylabel("how many points better is")
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    return figure


def _mcnemar_matrix_caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> tuple[str, str]:
    table = inputs.mcnemar
    table = table[table["attack"].isin(spec["attacks"])]
    table = table[[name in spec.get("datasets", [name]) for name in table["dataset"]]]
    return (
        "Row minus column: the difference in accuracy, in points, on the same images, and below it "
        "McNemar's exact p-value after correction: Holm's for the comparisons of the headline, "
        "Benjamini and Hochberg's for all others. A dash: the test is in no family and is not "
        "corrected. Coloured and bold where it is below 0.05: green where the model of the row "
        "is better, orange where that of the column is. White does not mean equal: with so few "
        "images only large differences show.",
        f"n = {span(table['n'].astype(int))} images"
        + ("" if (table["split"] == "pooled").all() else "; the first split"),
    )


def _mcnemar_panels(
    spec: Spec, study: Study, inputs: AnalysisInputs
) -> list[tuple[str, dict[tuple[str, str], tuple[float, float, bool]]]]:
    """A title and {(row, column): (difference, corrected p, significant)} of each panel."""
    table = inputs.mcnemar
    # Repeated splits of one data set are not pooled: the first one is drawn.
    first = table.groupby(["dataset", "scheme"], sort=False)["split"].transform("first")
    table = table[table["split"] == first]
    where = _where(set(zip(table["dataset"], table["scheme"], strict=True)), study)
    panels = []
    for attack in spec["attacks"]:
        rows = table[table["attack"] == attack]
        rows = rows[[name in spec.get("datasets", [name]) for name in rows["dataset"]]]
        for (dataset, scheme, epsilon), cell in rows.groupby(
            ["dataset", "scheme", "epsilon"], sort=False
        ):
            place = [] if len(spec.get("datasets", ())) == 1 else where(dataset, scheme)
            title = ", ".join([*place, attack_title(study, attack), f"ε = {radius_text(epsilon)}"])
            pairs = {}
            for row in cell.itertuples():
                p = row.q if row.family == EXPLORATORY else row.holm_p
                pairs[row.model_a, row.model_b] = row.difference, p, row.significant
                pairs[row.model_b, row.model_a] = -row.difference, p, row.significant
            panels.append((title, pairs))
    if not panels:
        raise nothing_to_draw(spec, f"no paired tests of {spec['attacks']}")
    return panels


# --- certified accuracy ------------------------------------------------------------------------


@styled
def certified_curves(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """The share of images certified at a radius, below the accuracy that an attack leaves."""
    panels = _certified_panels(spec, inputs)
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(
        (WIDTH if columns > 1 else WIDTH * 0.86, 0.45 + 3.0 * rows), layout="constrained"
    )
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    styles = looks([*study.get("headline", {}).get("models", []), *spec["models"]])
    where = _where(set(panels), study)
    farthest = 0.0
    for axes, (place, models) in zip(grid, panels.items(), strict=False):
        for model, (radii, attacked) in models.items():
            look = styles[model]
            radius = np.concatenate([[0.0], np.sort(radii)])
            certified = 1 - np.arange(len(radius)) / len(radii)
            certified[0] = (radii > 0).mean()
            certified = np.minimum(certified, certified[0])
            axes.step(radius, certified, where="post", color=look.colour, ls="--")
            axes.plot(
                attacked["epsilon"], attacked["pooled"], color=look.colour, marker=look.marker,
                markeredgecolor="white",
            )  # fmt: skip
            farthest = max(farthest, *radius, *attacked["epsilon"])
        axes.set_title(", ".join(where(*place)))
        axes.set_xlabel(RADIUS_LABELS["l2"])
        axes.set_ylim(-0.02, 1.02)
    for axes in grid[: len(panels)]:
        axes.set_xlim(-0.03 * farthest, 1.03 * farthest)
    for axes in grid[::columns]:
        axes.set_ylabel("accuracy")
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    handles = [
        Line2D([], [], color=styles[m].colour, marker=styles[m].marker, markeredgecolor="white",
               label=f"{title_of(study, 'models', m)}, attacked")
        for m in spec["models"]
    ]  # fmt: skip
    handles += [
        Line2D([], [], color=styles[m].colour, ls="--",
               label=f"{title_of(study, 'models', m)}, certified")
        for m in spec["models"]
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def _certified_curves_caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> tuple[str, str]:
    panels = _certified_panels(spec, inputs)
    counts = pd.Series([len(radii) for models in panels.values() for radii, _ in models.values()])
    tested = pd.concat(rows for models in panels.values() for _, rows in models.values())
    return (
        "Dashed: the share of images whose certified L2 radius (equation 2.7) is at least the "
        f"radius. Solid: the accuracy that {title_of(study, 'attacks', spec['attack'])} leaves. "
        "The certificate holds if the search found the closest image of every other class, which "
        "no search can promise: where a solid line falls below its dashed one, it did not.",
        f"n = {span(counts)} certified images, {_tested(tested)}",
    )


def _certified_panels(
    spec: Spec, inputs: AnalysisInputs
) -> dict[tuple[str, str], dict[str, tuple[np.ndarray, pd.DataFrame]]]:
    """By data set and scheme, by model: certified radii of all splits, and accuracy rows."""
    found: dict = {}
    for (dataset, split, model), path in sorted(inputs.explained.items()):
        if model in spec["models"] and dataset in spec.get("datasets", [dataset]):
            with np.load(path) as stored:
                place = dataset, split.rpartition("_")[0]
                found.setdefault(place, {}).setdefault(model, []).append(stored["radii"])
    panels = {}
    for place, models in found.items():
        rows = inputs.accuracy
        rows = rows[(rows["dataset"] == place[0]) & (rows["scheme"] == place[1])]
        for model, radii in models.items():
            mine = rows[rows["model"] == model]
            attacked = mine[mine["attack"] == spec["attack"]]
            usual = ~attacked["epsilon"].isin(check_radii(attacked["epsilon"]))
            both = pd.concat([mine[mine["attack"] == "clean"], attacked[usual]])
            panels.setdefault(place, {})[model] = (
                np.concatenate(radii),
                both.sort_values("epsilon"),
            )
    if not panels:
        raise nothing_to_draw(spec, f"no certified radii of {spec['models']}")
    return panels


# --- accuracy against radius ----------------------------------------------------------------


@styled
def accuracy_curves(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """Pooled accuracy against the radius, with Wilson bands; a panel per data set and attack."""
    panels = list(_curve_panels(spec, study, inputs))
    if not panels:
        raise nothing_to_draw(spec, f"no outcomes of {spec['attacks']}")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    width = WIDTH if columns > 1 else WIDTH * 0.86
    figure = Figure((width, 0.45 + 3.0 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    models = _models(spec, study, inputs)
    styles = looks([*study.get("headline", {}).get("models", []), *models])
    printed = False
    where = _where({place for place, _, _ in panels}, study)
    for axes, (place, attack, rows_of) in zip(grid, panels, strict=False):
        for model in models:
            curve = rows_of[rows_of["model"] == model].sort_values("epsilon")
            look = styles[model]
            band = curve[["low", "high"]].to_numpy(dtype=float).T
            axes.fill_between(curve["epsilon"], *band, color=look.colour, alpha=0.16, lw=0)
            axes.plot(
                curve["epsilon"],
                curve["pooled"],
                color=look.colour,
                marker=look.marker,
                markeredgecolor="white",
            )
        for model, known in _reported_accuracy(spec, study, inputs, place, attack).items():
            if model in styles:
                printed = True
                axes.plot(
                    known.index,
                    known,
                    "--",
                    color=GREY,
                    lw=1.1,
                    marker=styles[model].marker,
                    markerfacecolor="white",
                    markeredgecolor=GREY,
                    markersize=4.5,
                )
        _radius_axis(axes, rows_of, 0.07 * columns)
        if len(panels) > 1:
            name, place = title_of(study, "attacks", attack), where(*place)
            axes.set_title(f"{', '.join(place)}: {name}" if place else name)
        axes.set_ylim(-0.02, 1.02)
    for axes in grid[::columns]:
        axes.set_ylabel("accuracy")
    for norm in {_norm(rows_of) for _, _, rows_of in panels}:
        same = [
            (axes, rows_of["epsilon"].max())
            for axes, (_, _, rows_of) in zip(grid, panels, strict=False)
            if _norm(rows_of) == norm
        ]
        furthest = max(radius for _, radius in same)
        for axes, _ in same:
            if axes.get_xscale() == "symlog":
                axes.set_xlim(-0.2 * axes.xaxis.get_transform().linthresh, 1.25 * furthest)
            else:
                axes.set_xlim(-0.04 * furthest, 1.04 * furthest)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    handles = [
        Line2D(
            [],
            [],
            color=styles[m].colour,
            marker=styles[m].marker,
            markeredgecolor="white",
            label=title_of(study, "models", m),
        )
        for m in models
    ]
    if printed:
        handles.append(Line2D([], [], color=GREY, ls="--", lw=1.1, label="as printed"))
    figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 3))
    return figure


def _accuracy_curves_caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> tuple[str, str]:
    names = " and ".join(title_of(study, "attacks", attack) for attack in spec["attacks"])
    text = (
        f"Accuracy against the radius of {names}. Markers stand at the radii that were evaluated, "
        "ε = 0 is the unperturbed image, bands are 95 % Wilson intervals of the pooled accuracy."
    )
    far = sorted(
        {
            epsilon
            for attack, rows in inputs.accuracy.groupby("attack", observed=True)
            if attack in spec["attacks"]
            for epsilon in check_radii(rows["epsilon"])
        }
    )
    if far:
        text += f" The check at ε = {', '.join(f'{e:g}' for e in far)} is not drawn."
    panels = list(_curve_panels(spec, study, inputs))
    if any(len(_reported_accuracy(spec, study, inputs, *panel[:2])) for panel in panels):
        text += " Dashed grey lines with the same hollow markers are the numbers that were printed."
    return (
        f"{text} A curve bounds the accuracy under this attack from above; a stronger attack may "
        "lower it, and the bands do not cover that.",
        _tested(pd.concat(rows for _, _, rows in panels)),
    )


def _curve_panels(
    spec: Spec, study: Study, inputs: AnalysisInputs
) -> Iterator[tuple[tuple[str, str], str, pd.DataFrame]]:
    """((data set, split scheme), attack, rows with the clean accuracy at radius 0) by panel."""
    shown = inputs.accuracy[inputs.accuracy["model"].isin(_models(spec, study, inputs))]
    for place, here in shown.groupby(["dataset", "scheme"], sort=False):
        if place[0] not in spec.get("datasets", place[:1]):
            continue
        for attack in spec["attacks"]:
            rows = here[here["attack"] == attack]
            if len(rows):
                clean = here[(here["attack"] == "clean") & here["model"].isin(rows["model"])]
                both = pd.concat([clean, rows[rows["epsilon"] > 0]])
                both = both[~both["epsilon"].isin(check_radii(rows["epsilon"]))]
                yield place, attack, both.drop_duplicates(["model", "epsilon"])


def _radius_axis(axes: Axes, rows: pd.DataFrame, room: float) -> None:
    epsilons = np.unique(rows["epsilon"])
    norm = _norm(rows)
    axes.set_xlabel(RADIUS_LABELS.get(norm, norm))
    place, positive = epsilons, epsilons[epsilons > 0]
    if len(positive) and positive[-1] > WIDE * positive[0]:
        # Linear up to the smallest radius, so that the unperturbed images have a place.
        axes.set_xscale("symlog", linthresh=positive[0])
        with np.errstate(divide="ignore"):
            place = np.where(epsilons > 0, 1 + np.log10(epsilons / positive[0]), 0.0)
    if len(epsilons) <= 11 or place is not epsilons:
        # A tick at each radius, but a label only where there is room for it.
        kept = [0]
        for number in range(1, len(epsilons)):
            if place[number] - place[kept[-1]] > room * np.ptp(place):
                kept.append(number)
        axes.set_xticks(epsilons, [""] * len(epsilons), minor=True)
        axes.set_xticks(epsilons[kept], [radius_text(epsilon) for epsilon in epsilons[kept]])


def _norm(rows: pd.DataFrame) -> str:
    return str(rows.loc[rows["attack"] != "clean", "norm"].iloc[0])


def _reported_accuracy(
    spec: Spec, study: Study, inputs: AnalysisInputs, place: tuple[str, str], attack: str
) -> dict[str, pd.Series]:
    """Printed accuracies over the radius by model, for an attack or its as-published twin."""
    dataset, scheme = place
    if not _compared(study, scheme):
        return {}
    rows = _reported_rows(spec, inputs)
    rows = rows[rows["metric"] == "accuracy"]
    ours = {
        kind: rows[kind[:-1]].map(lambda name, kind=kind: _our_name(study, kind, name))
        for kind in ("datasets", "models", "attacks")
    }
    here = (ours["datasets"] == dataset) & ours["attacks"].isin(
        ["clean", attack, f"{attack}_as_published"]
    )
    attacked = ours["attacks"][here] != "clean"
    if not attacked.any():
        return {}
    rows = rows[here].assign(model=ours["models"][here], epsilon=rows["epsilon"].fillna(0.0))
    return {
        model: group.set_index("epsilon")["value"].sort_index()
        for model, group in rows.groupby("model")
    }


# --- reported against reproduced ------------------------------------------------------------


@styled
def ledger_dumbbell(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """Printed accuracies (hollow) joined to this run's (filled, with interval), by table."""
    rows = _accuracy_rows(inputs.ledger)
    if rows.empty:
        raise nothing_to_draw(spec, "no printed accuracy in the ledger")
    groups = list(rows.groupby("table", sort=False))
    height = len(rows) + 1.5 * len(groups)
    figure = Figure((WIDTH, 0.85 + 0.172 * height), layout="constrained")
    axes = figure.subplots()
    place, ticks = 0.0, []
    for table, group in groups:
        axes.text(
            -0.01,
            place,
            short_table(table),
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            fontweight="bold",
        )
        for row in group.itertuples():
            place += 1
            ticks.append((place, _row_label(row, study)))
            _dumbbell(axes, place, row)
        place += 1.5
    axes.set_yticks([t[0] for t in ticks], [t[1] for t in ticks])
    axes.set(xlim=(-0.02, 1.02), ylim=(place - 0.6, -0.8), xlabel="accuracy")
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    handles = [
        Line2D([], [], ls="", marker="o", color=GREY, markerfacecolor="white", label="printed")
    ]
    handles += [
        Line2D([], [], ls="-", lw=2.6, color=colour, marker=marker, label=f"this run: {verdict}")
        for verdict, (colour, marker) in COMPARED.items()
        if (rows["verdict"] == verdict).any()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure


def _dumbbell(axes: Axes, place: float, row: Any) -> None:
    compared = row.verdict in COMPARED and not pd.isna(row.reproduced)
    colour, marker = COMPARED.get(row.verdict, (GREY, "o"))
    if compared:
        axes.plot([row.reported, row.reproduced], [place] * 2, color=FAINT, lw=1.2, zorder=1)
        axes.plot([row.low, row.high], [place] * 2, color=colour, lw=2.6, alpha=0.45, zorder=2)
        axes.plot(row.reproduced, place, marker, color=colour, zorder=4)
        note = f"{row.reproduced - row.reported:+.3f}".replace("-", "−")
    else:
        note = row.verdict
    axes.plot(
        row.reported, place, "o", color=GREY, markerfacecolor="white", markeredgewidth=1.1, zorder=3
    )
    axes.text(
        1.035,
        place,
        note,
        transform=axes.get_yaxis_transform(),
        ha="left",
        va="center",
        fontsize=7.5,
        color=colour,
    )


def _accuracy_rows(ledger: pd.DataFrame) -> pd.DataFrame:
    return ledger[(ledger["metric"] == "accuracy") & ledger["reported"].between(0, 1)]


def _row_label(row: Any, study: Study) -> str:
    attack = "clean" if str(row.attack).startswith("none") else str(row.attack)
    epsilon = "" if pd.isna(row.epsilon) or attack == "clean" else f" {radius_text(row.epsilon)}"
    return f"{row.model}, {attack}{epsilon}"


def _ledger_dumbbell_caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> tuple[str, str]:
    rows = _accuracy_rows(inputs.ledger)
    counts = ", ".join(f"{n} {v}" for v, n in rows["verdict"].value_counts().items())
    others = len(inputs.ledger) - len(rows)
    return (
        "Each printed accuracy (hollow) joined to this run's (filled: a circle where reproduced, a "
        "diamond where it differs) with its 95 % Wilson interval; at the right, this run minus "
        f"print. {len(rows)} printed accuracies: {counts}. "
        f"{others} other printed values (counts, hyper-parameters, curves) stand in the ledger "
        "only. Whether a number is reproduced is decided by the rule in the configuration, not by "
        "this picture.",
        _tested(inputs.accuracy),
    )


# --- shared ---------------------------------------------------------------------------------

FIGURES: dict[str, Callable[[Spec, Study, AnalysisInputs], Figure]] = {
    "training_curves": training_curves,
    "latent_pca": arrays.latent_pca,
    "examples": arrays.examples,
    "compared_examples": arrays.compared_examples,
    "reconstructions": arrays.reconstructions,
    "saliency": saliency.saliency,
    "decision_regions": saliency.decision_regions,
    "certified_curves": certified_curves,
    "mcnemar_matrix": mcnemar_matrix,
    "accuracy_curves": accuracy_curves,
    "ledger_dumbbell": ledger_dumbbell,
}
_CAPTIONS: dict[str, Callable[[Spec, Study, AnalysisInputs], tuple[str, str]]] = {
    "training_curves": _training_curves_caption,
    "latent_pca": arrays.latent_pca_caption,
    "examples": arrays.examples_caption,
    "compared_examples": arrays.compared_examples_caption,
    "reconstructions": arrays.reconstructions_caption,
    "saliency": saliency.saliency_caption,
    "decision_regions": saliency.decision_regions_caption,
    "certified_curves": _certified_curves_caption,
    "mcnemar_matrix": _mcnemar_matrix_caption,
    "accuracy_curves": _accuracy_curves_caption,
    "ledger_dumbbell": _ledger_dumbbell_caption,
}


def _of_kind(spec: Spec) -> tuple[Callable[..., Figure], Callable[..., tuple[str, str]]]:
    kind = spec.get("kind")
    if kind not in FIGURES:
        raise ConfigError(
            f"unknown kind of figure '{kind}'",
            where=f"figure '{spec.get('title', '')}' of the study",
            remedy=f"choose one of {sorted(FIGURES)}",
        )
    return FIGURES[kind], _CAPTIONS[kind]


def _tested(rows: pd.DataFrame) -> str:
    """How many test images and splits stand behind each point of some accuracy rows."""
    n, splits = rows["n"].astype(int), rows["splits"].astype(int)
    return f"n = {span(n)} test images per point; {plural(span(splits), 'split')}"


def _where(places: set[tuple[str, str]], study: Study) -> Callable[[str, str], list[str]]:
    """A function that names a data set and a split scheme, as far as there are several."""
    datasets = {dataset for dataset, _ in places}

    def words(dataset: str, scheme: str) -> list[str]:
        named = [title_of(study, "datasets", dataset)] if len(datasets) > 1 else []
        return [*named, scheme] if len(places) > len(datasets) else named

    return words


def _compared(study: Study, scheme: str) -> bool:
    """Whether printed numbers are compared with what was run with this split scheme."""
    return study.get("reported", {}).get("splits", scheme) == scheme


def _models(spec: Spec, study: Study, inputs: AnalysisInputs) -> list[str]:
    """The models to draw, in the study's order, as far as they have outcomes."""
    known = dict.fromkeys(inputs.accuracy["model"])
    wanted = spec.get("models") or study.get("headline", {}).get("models") or known
    return [model for model in wanted if model in known]


def _reported_rows(spec: Spec, inputs: AnalysisInputs) -> pd.DataFrame:
    """The printed values of the file that the figure's entry names; none without one."""
    wanted = re.sub(r"\.csv$", "", spec.get("reported", ""))
    files = inputs.reported["file"].astype(str).map(lambda name: Path(name).stem)
    return inputs.reported[files == wanted]


def _our_name(study: Study, kind: str, printed: str) -> str:
    """The catalogue's name for a printed one, after stand-ins."""
    name = study.get("reported", {}).get(kind, {}).get(printed, printed)
    return study.get("stand_ins", {}).get(kind, {}).get(name, name)
