"""How much each network was trained, and in what the networks of one comparison differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from assay.analysis.brief import StudyBrief
from assay.analysis.costs import updates_of
from assay.analysis.rows import PLACE
from assay.analysis.titles import title_of
from assay.foundation.split import Split
from assay.training.settings import phases

# Measures of a training: what readers see, how a value is written, and what two values of one
# network mean.
MEASURES = {
    "learning_rate": ("learning rate", "{:g}"),
    "epochs": ("epochs", "{:,.0f}"),
    "images": ("training images", "{:,.0f}"),
    "batch_size": ("batch size", "{:,.0f}"),
    "updates": ("weight updates", "{:,.0f}"),
}


def effort(
    facts: Mapping[tuple[str, str, str], Mapping[str, Any]],
    starts: Mapping[str, str | None] | None = None,
) -> pd.DataFrame:
    """What each training took, from its ``model.json``.

    Args:
        facts: the contents of ``model.json`` by (data set, split, model).
        starts: the model that a model's training starts from, if any.

    Returns:
        One row per training: dataset, scheme, split, model, learning_rate (at the start), epochs
        (that were run), images (different training images), batch_size (NaN where that of phases
        differs), updates (steps of the optimiser, those of the network that it starts from
        included, where they are known) and adversarial (whether it learned from attacked images, in
        any phase). Networks whose weights come from elsewhere have NaN.
    """
    rows = []
    for (dataset, split, model), known in facts.items():
        training = known.get("training") or {}
        parts = phases(training) if training.get("phases") else [training]
        sizes = {part.get("batch_size") for part in parts}
        updates = updates_of(known)
        trained = updates is not None
        rows.append(
            {
                "dataset": dataset,
                "scheme": Split.of(split).scheme,
                "split": split,
                "model": model,
                "learning_rate": (parts[0].get("optimizer") or {}).get("lr", np.nan),
                "epochs": known["epochs"] if trained else np.nan,
                "images": known["train_n"] if trained else np.nan,
                "batch_size": sizes.pop() if trained and len(sizes) == 1 else np.nan,
                "updates": updates if trained else np.nan,
                "adversarial": any(part.get("adversary") for part in parts),
            }
        )
    names = ["dataset", "scheme", "split", "model", *MEASURES, "adversarial"]
    table = pd.DataFrame(rows, columns=names)
    own = table.set_index(["dataset", "split", "model"]).updates
    table["updates"] = [
        own.reindex([(*key[:2], model) for model in _chain(key[2], starts or {})]).sum(min_count=1)
        for key in own.index
    ]
    return table


def _chain(model: str, starts: Mapping[str, str | None]) -> list[str]:
    """A model and those that its training starts from, one after the other."""
    chain = [model]
    while (first := starts.get(chain[-1])) and first not in chain:
        chain.append(first)
    return chain


def at_place(table: pd.DataFrame, place: Sequence[str], models: Sequence[str]) -> pd.DataFrame:
    """The means over splits of :func:`effort` of some models, by model and in their order."""
    here = table[(table.dataset == place[0]) & (table.scheme == place[1])]
    means = here[here.model.isin(models)].groupby("model")[[*MEASURES, "adversarial"]].mean()
    return means.reindex([model for model in models if model in means.index])


def what_differs(means: pd.DataFrame, study: StudyBrief) -> list[str]:
    """In what the trainings of some models differ, beside their size, one phrase each.

    Args:
        means: as :func:`at_place` gives it.
        study: the study with its models' entries.

    Returns:
        Phrases such as ``learning rate (0.0002 or 0.001)``; of more than two values the range.
    """
    found = []
    kinds = {_kind(study, model) for model in means.index} - {None}
    if len(kinds) > 1:
        found.append(f"architecture ({len(kinds)} families)")
    if means.adversarial.nunique() > 1:
        found.append("adversarial training")
    for name, (title, form) in MEASURES.items():
        texts = list(dict.fromkeys(form.format(value) for value in sorted(means[name].dropna())))
        if len(texts) == 2:
            found.append(f"{title} ({texts[0]} or {texts[1]})")
        elif len(texts) > 2:
            found.append(f"{title} ({texts[0]} to {texts[-1]})")
    return found


def effort_sentence(table: pd.DataFrame, rows: pd.DataFrame, study: StudyBrief) -> str:
    """One sentence on unequal effort within the comparisons that some rows make.

    Args:
        table: as :func:`effort` gives it.
        rows: accuracy rows or others with dataset, scheme and model; each data set and scheme is
            one comparison.
        study: the study, for titles.

    Returns:
        Which models had which learning rate, updates and so on, of those measures that differ; an
        empty string where no comparison has models of different effort.
    """
    differences: dict[str, list[str]] = {}
    for place, own in rows.groupby(PLACE, observed=True, sort=False):
        means = at_place(table, place, list(dict.fromkeys(own.model)))
        phrases = tuple(_grouped(means, study))
        if phrases:
            differences.setdefault("; ".join(phrases), []).append(
                title_of(study, "datasets", place[0])
            )
    if len(differences) <= 1:
        return "".join(f"The training differs: {text}." for text in differences)
    parts = [f"{' and '.join(dict.fromkeys(names))}: {text}" for text, names in differences.items()]
    return f"The training differs. {'. '.join(parts)}."


def _grouped(means: pd.DataFrame, study: StudyBrief) -> list[str]:
    """The measures that differ, each with the models of each value."""
    phrases = []
    for name, (title, form) in MEASURES.items():
        known = means[name].dropna()
        texts = known.sort_values(kind="stable").map(form.format)
        if texts.nunique() < 2:
            continue
        counts = texts.value_counts()
        most = counts.index[0] if counts.iloc[0] > 1 else None
        values = []
        for text in dict.fromkeys(texts):
            who = [model for model in known.index if texts[model] == text]
            titles = ", ".join(title_of(study, "models", model) for model in who)
            values.append((text == most, f"{text} ({'the others' if text == most else titles})"))
        phrases.append(
            f"{title} {', '.join(text for _, text in sorted(values, key=lambda pair: pair[0]))}"
        )
    return phrases


def counterpart_of(model: str, models: Sequence[str], study: StudyBrief) -> str | None:
    """The model of the list that is the same network, trained in the ordinary way.

    Args:
        model: a model's id.
        models: candidates, in the order of preference.
        study: the study with its models' entries.

    Returns:
        The first other candidate before `model` with the same code and settings; None without.
    """
    kind = _network(study, model)
    if kind is None:
        return None
    for other in models:
        if other == model:
            return None
        if _network(study, other) == kind:
            return other
    return None


def _kind(study: StudyBrief, model: str) -> str | None:
    return study.models.get(model, {}).get("implementation")


def _network(study: StudyBrief, model: str) -> tuple | None:
    entry = study.models.get(model, {})
    if "implementation" not in entry:
        return None
    return entry["implementation"], repr(sorted((entry.get("settings") or {}).items()))
