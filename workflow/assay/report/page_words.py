"""The page's sentences: banner, facts and the answers of a study, each computed from its rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from assay.analysis.accuracy import BALLS
from assay.analysis.attack_set import NORM, NORM_ALL, SINGLE
from assay.analysis.brief import Paper, StudyBrief
from assay.analysis.checks import VERDICT_NORMS, VERDICTS
from assay.analysis.ledger import counts_in_words
from assay.analysis.rows import PLACE
from assay.analysis.titles import attack_title, radius_text, title_of
from assay.report.page_study import MARK, StudyFiles, norm_title
from assay.report.text import listed, span

SUBSTITUTES = "Substitutes were used. These are not the paper's numbers:"
OWN_SUBSTITUTES = "Substitutes were used:"
TITLE = "Which printed robustness numbers hold?"
OWN_TITLE = "How robust are these classifiers?"
REPEATS = (
    "assay repeats published robustness evaluations of image classifiers, with the published "
    "attacks and with stronger ones."
)
ATTACKS = "assay attacks image classifiers and measures how much of their accuracy is left."
HOW = (
    "It stores the prediction for every image under every attack and computes each accuracy from "
    "these predictions. Square brackets after an accuracy hold its 95 % Wilson interval. The "
    "verdict on an evaluation shows whether its accuracies can be trusted."
)
# Names in a sentence, before the best and the worst stand for all; a list of doubts likewise.
LISTED, DOUBTS = 4, 6


# --- head of the page ----------------------------------------------------------------------------


def page_heading(studies: Iterable[StudyFiles]) -> tuple[str, str]:
    """The page's question and what answers it.

    Only studies of printed numbers ask whether these hold; a study of one's own asks its own
    question.
    """
    studies = list(studies)
    if any(files.prints for files in studies):
        return TITLE, f"{REPEATS} {HOW}"
    questions = {files.study.question for files in studies}
    only = questions.pop() if len(questions) == 1 else None
    return only or OWN_TITLE, f"{ATTACKS} {HOW}"


# --- banner --------------------------------------------------------------------------------------


def banner(name: str, studies: Iterable[StudyFiles]) -> dict[str, Any]:
    """What a reader must know of the run first: data sets, scale, substitutes, older rows."""
    studies = list(studies)
    trees = [files.study for files in studies]
    facts = next((study.scale_facts for study in trees if study.scale_facts), {})
    data = [
        files.title("datasets", dataset)
        for files in studies
        for dataset in files.headline["dataset"].unique()
    ]
    return {
        "name": name,
        "title": facts.get("title", name).rstrip("."),
        "data": list(dict.fromkeys(data)),
        "description": facts.get("description", ""),
        "warning": SUBSTITUTES if any(files.prints for files in studies) else OWN_SUBSTITUTES,
        "substitutes": list(dict.fromkeys(line for study in trees for line in substitutes(study))),
        "earlier": [line for files in studies for line in earlier_code(files)],
    }


def substitutes(study: StudyBrief) -> list[str]:
    """A sentence for each substitute that the study's rows use; titles, never ids."""
    return [
        f"{title_of(study, kind, ours)} is a substitute for {title_of(study, kind, theirs)}."
        for kind, pairs in study.substitutes.items()
        for theirs, ours in pairs.items()
        if ours in study.titles.get(kind, {})
    ]


def earlier_code(files: StudyFiles) -> list[str]:
    earlier, total = files.earlier()
    if not earlier:
        return []
    return [
        f"{earlier:,} of {total:,} accuracies of “{files.study.title}” were computed by an "
        f"earlier version of the code; {MARK} marks them."
    ]


# --- a study's head ------------------------------------------------------------------------------


def short_name(study: StudyBrief) -> str:
    """The paper as it is cited, ``Millner et al. 2024``; without authors the study's title."""
    authors = [name.strip() for name in study.paper.authors.split(",") if name.strip()]
    if not authors:
        return study.title
    surname = authors[0].split()[-1]
    return f"{surname}{' et al.' if len(authors) > 1 else ''} {study.paper.year or ''}".strip()


def citation(paper: Paper) -> str:
    year = f" ({paper.year})" if paper.year else ""
    return f"{paper.authors}{year}: {paper.title}" if paper.title else ""


def facts(files: StudyFiles) -> list[tuple[str, str]]:
    """(name, value) of data sets, images, splits, classifiers, attacks, seed and scale."""
    head, attacks = files.headline, files.study.attacks
    rows = files.accuracy[files.accuracy["attack"].isin(attacks)]
    attacked = rows[~rows["norm"].isin(["none"])]
    data = ", ".join(files.title("datasets", name) for name in head["dataset"].unique())
    images = head.groupby("dataset")["samples"].max()
    return [
        ("data set" + "s" * files.several, data),
        ("test images" + " per data set" * files.several, span(images)),
        ("splits", span(head.groupby(PLACE)["splits"].max())),
        ("classifiers", str(head["model"].nunique())),
        ("attacks and corruptions", str(attacked["attack"].nunique())),
        *([] if files.study.seed is None else [("seed", str(files.study.seed))]),
        *([("scale", files.study.scale)] if files.study.scale else []),
    ]


# --- the brief -----------------------------------------------------------------------------------


def brief(files: StudyFiles) -> list[tuple[str, list[str]]]:
    """What accuracies, checks and ledger say, in sentences; each from the rows it speaks of.

    Returns:
        (heading, sentences): for each data set and split scheme on which classifiers can be
        compared, the heading empty if there is only one; then those of the whole study.
    """
    places = files.places()
    compared = [(place, rows) for place, rows in places if rows["model"].nunique() > 1] or places
    found = [(files.place(*place), _at_place(files, place, rows)) for place, rows in compared]
    whole = [*_training(files), _verdicts(files)]
    whole += [ledger_summary(files)] if files.prints else []
    if len(found) == 1:
        heading, sentences = found[0]
        return [(heading, [*sentences, *whole])]
    return [*found, ("All data sets and splits", whole)]


def ledger_summary(files: StudyFiles) -> str:
    """What became of the printed results, and apart from them of settings and other numbers."""
    return counts_in_words(files.ledger)


def _at_place(files: StudyFiles, place: tuple[str, str], rows: pd.DataFrame) -> list[str]:
    found = []
    clean = rows[rows["attack"] == "clean"].dropna(subset="pooled")
    if len(clean):
        splits = clean["splits"].max()
        over = f" in {splits:.0f} splits" if splits > 1 else ""
        values = clean.set_index("model")["pooled"]
        images = f"{clean['samples'].max():,.0f} unperturbed test images{over}"
        found.append(f"On {images}, {_reported(files, values)}.")
    accuracies = files.accuracy[
        (files.accuracy["dataset"] == place[0]) & (files.accuracy["scheme"] == place[1])
    ]
    accuracies = accuracies[accuracies["model"].isin(rows["model"])].dropna(subset="pooled")
    for norm, epsilon in _radii(files, rows):
        worst = _worst(accuracies, norm, epsilon)
        if len(worst):
            found.append(_worst_sentence(files, worst, norm, epsilon))
            found += _smaller(files, accuracies, worst, norm, epsilon)
    for attack in _as_published(files.study):
        found += _published_sentence(files, accuracies, attack, rows)
    return found


def _radii(files: StudyFiles, rows: pd.DataFrame) -> list[tuple[str, float]]:
    """The largest radius of each ball norm in some rows of the headline."""
    balls = rows[rows["norm"].isin(BALLS)].dropna(subset="pooled")
    largest = balls.groupby("norm")["epsilon"].max()
    return [(norm, float(largest[norm])) for norm in BALLS if norm in largest.index]


def _at_radius(accuracies: pd.DataFrame, norm: str, epsilon: float) -> pd.DataFrame:
    return accuracies[(accuracies["norm"] == norm) & (accuracies["epsilon"] == epsilon)]


def _worst(accuracies: pd.DataFrame, norm: str, epsilon: float) -> pd.DataFrame:
    """The worst case over attacks of each model, with ``over``: how many attacks it counts.

    Where the file has none, the lowest accuracy that any attack left, of however few images: it
    is known that the model does no better.
    """
    rows = _at_radius(accuracies, norm, epsilon)
    joined = rows[rows["worst_case"] == NORM]
    if len(joined):
        over = joined["attacks"] if "attacks" in joined else pd.Series(pd.NA, joined.index)
        # A model with a single attack has no row of its own: that attack is its worst case.
        alone = rows[~rows["model"].isin(joined["model"]) & (rows["worst_case"] == SINGLE)]
        alone = alone.loc[alone.groupby("model")["pooled"].idxmin()]
        return pd.concat([joined.assign(over=over), alone.assign(over=1)])
    lowest = rows.loc[rows.groupby("model")["pooled"].idxmin()]
    return lowest.assign(over=pd.NA)


def _worst_sentence(files: StudyFiles, worst: pd.DataFrame, norm: str, epsilon: float) -> str:
    values = worst.drop_duplicates("model").set_index("model")["pooled"]
    return (
        f"{_worst_words(worst)} ({_radius(files, norm, epsilon)}, {_counts(worst)}), "
        f"{_reported(files, values)}.{_clean_words(worst)}{_effort(worst)}"
    )


def _worst_words(worst: pd.DataFrame) -> str:
    if worst["over"].isna().all():
        return "Under the strongest attack on each classifier"
    plural = "s" if worst["over"].max() > 1 else ""
    return f"Under the worst case over {span(worst['over'])} attack{plural}"


def _clean_words(worst: pd.DataFrame) -> str:
    if "clean" not in worst or worst["clean"].isna().any():
        return ""
    low, high = worst["clean"].min(), worst["clean"].max()
    span = f"{low:.3f}" if f"{low:.3f}" == f"{high:.3f}" else f"{low:.3f} to {high:.3f}"
    return f" The clean accuracy on the same images is {span}."


def _effort(worst: pd.DataFrame) -> str:
    """What the attacks of a worst case spent on an image, as it differs between models."""
    passes = worst.dropna(subset="over").get("backwards", pd.Series(dtype=float)).dropna()
    if passes.empty or passes.max() < 1:
        return ""
    return f" These attacks took {span(passes)} gradient passes per image."


def _training(files: StudyFiles) -> list[str]:
    """How many updates the trainings took, where the table of costs knows; least and most."""
    costs = files.optional("statistics/costs.csv")
    if costs is None or "updates" not in costs:
        return []
    costs = costs[costs["model"].isin(files.headline["model"])].dropna(subset="updates")
    updates = costs.groupby("model", sort=False)["updates"].max()
    if updates.nunique() < 2:
        return []
    least, most = updates.idxmin(), updates.idxmax()
    return [
        f"Training effort differs: from {updates[least]:,.0f} weight updates "
        f"({files.title('models', least)}) to {updates[most]:,.0f} ({files.title('models', most)})."
    ]


def _smaller(
    files: StudyFiles, accuracies: pd.DataFrame, worst: pd.DataFrame, norm: str, epsilon: float
) -> list[str]:
    """The worst case over all attacks, on the fewer images that every one of them saw."""
    rows = _at_radius(accuracies, norm, epsilon)
    every = rows[rows["worst_case"] == NORM_ALL]
    if every.empty or worst["over"].isna().all():
        return []
    over = f" {span(every['attacks'])}" if "attacks" in every else ""
    values = every.set_index("model")["pooled"]
    return [
        f"Under the worst case over all{over} attacks ({_radius(files, norm, epsilon)}), on the "
        f"images that were tested with each of them ({_counts(every)}), {_reported(files, values)}."
    ]


def _as_published(study: StudyBrief) -> list[str]:
    """The published attacks with their defects: by their role, or by the study's pairs."""
    by_role = [name for name, entry in study.attacks.items() if entry.get("role") == "as_published"]
    return list(dict.fromkeys([*by_role, *(pair["published"] for pair in study.corrections)]))


def _published_sentence(
    files: StudyFiles, accuracies: pd.DataFrame, attack: str, rows: pd.DataFrame
) -> list[str]:
    """The accuracies under a published attack beside the worst case, at a headline's radius."""
    own = accuracies[accuracies["attack"] == attack]
    for norm, epsilon in _radii(files, rows):
        published = _at_radius(own, norm, epsilon).drop_duplicates("model").set_index("model")
        worst = _worst(accuracies, norm, epsilon).drop_duplicates("model").set_index("model")
        both = published.index.intersection(worst.index)
        models = [model for model in files.series_styles if model in both]
        if not models:
            continue
        old, new = published.loc[models, "pooled"], worst.loc[models, "pooled"]
        if not (old - new).abs().gt(0.0005).any():
            continue
        words = _worst_words(worst.loc[models]).replace("Under", "under", 1)
        named = _extremes(old, 2)
        then = listed([f"{new[model]:.3f}" for model in named])
        both = listed([files.title("models", model) for model in named])
        same = {1: "it is", 2: "they are"}.get(len(models), f"those of {both} are")
        return [
            f"Under {attack_title(files.study, attack)}, at {_radius(files, norm, epsilon)} "
            f"({_counts(published.loc[models])}), {_reported(files, old, 2)}; {words} "
            f"({_counts(worst.loc[models])}), {same} {then}."
        ]
    return []


def _reported(files: StudyFiles, values: pd.Series, most: int = LISTED) -> str:
    """The accuracies of models: all of a few, the highest and the lowest of many."""
    values = values[[model for model in files.series_styles if model in values.index]]
    chosen = _extremes(values, most)
    named = [f"{values[model]:.3f} for {files.title('models', model)}" for model in chosen]
    if len(values) == 1:
        return f"the accuracy is {named[0]}"
    if len(chosen) == len(values):
        return f"the accuracies are {listed(named)}"
    # Models whose accuracies print alike are named together.
    printed = values.round(3)
    ends = [
        f"{printed[model]:.3f} for "
        + listed([files.title("models", name) for name in printed.index[printed == printed[model]]])
        for model in chosen
    ]
    if ends[0] == ends[1]:
        return f"the accuracy is {ends[0]}"
    return f"the accuracy ranges from {ends[0]} to {ends[1]}"


def _extremes(values: pd.Series, most: int) -> list[str]:
    """The models to name: all, highest first, or the best and the worst of more than `most`."""
    ranked = list(values.sort_values(ascending=False, kind="stable").index)
    return ranked if len(ranked) <= most else [ranked[0], ranked[-1]]


def _radius(files: StudyFiles, norm: str, epsilon: float) -> str:
    if norm == "l0":
        return f"{epsilon:g} pixel{'s' if epsilon != 1 else ''}"
    return f"{norm_title(norm)} ε = {radius_text(epsilon, files.study)}"


def _counts(rows: pd.DataFrame) -> str:
    return f"n = {span(rows['n'])}"


def _verdicts(files: StudyFiles) -> str:
    """How many evaluations of the headline are sound, and which are not."""
    rows = files.headline.dropna(subset="verdict")
    rows = rows.assign(norm=rows["norm"].replace(VERDICT_NORMS))
    rows = rows.drop_duplicates([*PLACE, "model", "norm"])
    if rows.empty:
        return "No evaluation of the headline was checked."
    counts = rows["verdict"].value_counts()
    if set(counts.index) == {"sound"}:
        return f"All {len(rows)} evaluations (classifier and norm) pass every check."
    order = [word for word in VERDICTS if word in counts]
    verbs = ["is" if counts[word] == 1 else "are" for word in order]
    reported = listed(
        [f"{counts[word]} {verb} {word}" for word, verb in zip(order, verbs, strict=True)]
    )
    doubts = []
    for word in order:
        names = _doubtful(files, rows[rows["verdict"] == word])
        if word != "sound" and len(names) <= DOUBTS:
            doubts.append(f"{word}: {listed(names)}")
    named = f" ({'; '.join(doubts)})" if doubts else ""
    return f"Of {len(rows)} evaluations (classifier and norm), {reported}{named}; see the checks."


def _doubtful(files: StudyFiles, rows: pd.DataFrame) -> list[str]:
    names = []
    for (dataset, scheme, model), own in rows.groupby([*PLACE, "model"], sort=False):
        where = [files.place(dataset, scheme), *dict.fromkeys(map(norm_title, own["norm"]))]
        names.append(f"{files.title('models', model)} ({', '.join(filter(None, where))})")
    return names
