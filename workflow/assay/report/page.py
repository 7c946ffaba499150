"""The page that people open first: one self-contained HTML file made from written results.

Everything on it is read from the files of ``report/{scale}/{study}/``; no number is computed here,
so the page can never say something else than the tables and figures that it links to.
"""

from __future__ import annotations

import base64
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from assay.analysis.brief import StudyBrief
from assay.analysis.checks import VERDICT_NORMS
from assay.analysis.kept import FILES
from assay.analysis.rows import PLACE, several_schemes
from assay.analysis.titles import title_of
from assay.foundation.files import write_text
from assay.foundation.provenance import provenance
from assay.foundation.resources import PACKAGE
from assay.report.figures.draw import alternative_text, is_photograph
from assay.report.glossary import glossary
from assay.report.page_cells import cell_html
from assay.report.page_methods import attacks_table, costs_table, methods
from assay.report.page_results import headline, ledger, written
from assay.report.page_study import Nested, StudyFiles, norm_title
from assay.report.page_tests import checks_table, evaluation_card, significance
from assay.report.page_words import (
    banner,
    brief,
    citation,
    facts,
    ledger_summary,
    page_heading,
    short_name,
)

TEMPLATES = PACKAGE / "report/templates"
FIGURE_FORMATS = {"SVG": "svg", "PDF": "pdf"}
# Tables of every study that are too long to be shown.
LINKED = {
    "accuracy": "Accuracy of every classifier under every attack",
    "cochran": "Cochran's Q: do all classifiers have the same accuracy?",
    "between_splits": "Pairs of classifiers, by tests that account for the splits",
    "resampled_t": "Corrected resampled t-test across splits",
}
PARTS = {
    "headline": "Headline",
    "curves": "Curves",
    "ledger": "Ledger",
    "tables": "Tables",
    "others": "Figures",
    "statistics": "Significance",
    "checks": "Checks",
    "methods": "What was run",
}
ANCHORS = {"others": "figures"}


def render_page(scale: str, studies: Iterable[StudyBrief], out: Path | str) -> None:
    """Writes the page of one scale.

    Args:
        scale: the scale's name.
        studies: as the plan gives them to the analysis; the files of each are in the folder of its
            ``name`` beside `out`.
        out: path of the page.

    Raises:
        AssayError: a file of a study is missing (the message names it).
    """
    out = Path(out)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"slug": _slug, "cell": cell_html, "terms": glossary().linked}
    made = provenance()
    found = [StudyFiles(study, out.parent) for study in studies]
    heading, lede = page_heading(found)
    page = environment.get_template("page.html.j2").render(
        title=f"assay, scale {scale}: {heading}",
        heading=heading,
        lede=lede,
        scale=banner(scale, found),
        studies=[_content(files, heading) for files in found],
        glossary=glossary(),
        footer=f"Written by assay {made['assay'] or ''} with Python {made['python']}. "
        "Every table is linked as CSV, Markdown and LaTeX, every figure as SVG and PDF.",
        css=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        js=Markup((TEMPLATES / "page.js").read_text(encoding="utf-8")),
    )
    write_text(out, page)


def _content(files: StudyFiles, heading: str) -> dict[str, Any]:
    """Everything that the template shows of a study, below the page's heading."""
    study = files.study
    figures = [_figure(files, name, spec) for name, spec in study.figures.items()]
    shown = ("accuracy_curves", "ledger_dumbbell")
    content = {
        "id": files.id,
        "title": study.title,
        "short": short_name(study),
        "paper": citation(study.paper),
        "question": "" if study.question == heading else study.question,
        "facts": facts(files),
        "brief": brief(files),
        "headline": headline(files),
        "figures": figures,
        "curves": [f for f in figures if f["kind"] == "accuracy_curves"],
        "ledger": ledger(files, ledger_summary(files)) if files.prints else None,
        "tables": [
            written(files, f"table-{files.id}-{name}", f"tables/{name}", spec.get("title", name))
            for name, spec in study.tables.items()
        ],
        "others": [f for f in figures if f["kind"] not in shown],
        "statistics": significance(files),
        "linked": _linked(files),
        "card": evaluation_card(files),
        "checks": checks_table(files),
        "attacks": attacks_table(files),
        "costs": costs_table(files),
        "methods": methods(files),
        "provenance": _kept(files),
    }
    parts = [(key, name) for key, name in PARTS.items() if content[key]]
    content["parts"] = [(ANCHORS.get(key, key), name) for key, name in parts]
    return content


def _kept(files: StudyFiles) -> list[tuple[str, str]]:
    """Links to what made the report, and to what it can be rendered from again."""
    names = [name for name in sorted(FILES) if (files.folder / name).is_file()]
    found = [("Provenance (JSON)", "provenance.json"), *((name, name) for name in names)]
    return [(label, f"{files.id}/{name}") for label, name in found]


def _linked(files: StudyFiles) -> list[tuple[str, list[tuple[str, str]]]]:
    """Statistics that stand in files alone; those that the page does not know by their names."""
    shown = {"ranking", "mcnemar", "costs"}
    if files.between_splits is not None and len(files.between_splits):
        shown.add("between_splits")
    stems = [path.stem for path in sorted((files.folder / "statistics").glob("*.csv"))]
    return [
        (LINKED.get(name, name.replace("_", " ").capitalize()), files.links(f"statistics/{name}"))
        for name in dict.fromkeys([*LINKED, *stems])
        if name not in shown
    ]


def _figure(files: StudyFiles, name: str, spec: Nested) -> dict[str, Any]:
    svg = files.text(f"figures/{name}.svg")
    size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', svg)
    width, height = (float(size[1]), float(size[2])) if size else (720.0, 480.0)
    words = files.folder / "figures" / f"{name}.txt"
    title = spec.get("title", name)
    return {
        "id": f"figure-{files.id}-{name}",
        "kind": spec["kind"],
        "title": title,
        "caption": words.read_text(encoding="utf-8").strip() if words.is_file() else "",
        "alt": alternative_text(spec, files.study),
        "drawing": not is_photograph(spec),
        "source": "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode(),
        "shown": round(width * 4 / 3 * 1.2),
        "width": round(width * 4 / 3),
        "height": round(height * 4 / 3),
        "links": files.links(f"figures/{name}", FIGURE_FORMATS),
    }


def _slug(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower())


def headline_text(headline: pd.DataFrame, study: StudyBrief | None = None) -> str:
    """The headline table for a terminal.

    Args:
        headline: the frame of headline.csv.
        study: the study, for titles.

    Returns:
        A table per data set and split scheme with a column per classifier: the verdicts on its
        evaluation, a row for each norm where they differ, then its accuracy under each attack with
        the 95 % interval below.
    """
    from tabulate import tabulate

    texts, several = [], several_schemes(headline)
    for (dataset, scheme), rows in headline.groupby(PLACE, sort=False):
        models = list(dict.fromkeys(rows["model"]))
        table = _terminal_verdicts(rows, models)
        for column, cells in rows.groupby("column", sort=False):
            cells = cells.set_index("model")
            table.append([column, *(_terminal_cell(cells, model) for model in models)])
        place = [title_of(study or StudyBrief(), "datasets", dataset)]
        place += [title_of(study or StudyBrief(), "splits", scheme)] if several else []
        names = [title_of(study or StudyBrief(), "models", model) for model in models]
        headers = [_wrapped(", ".join(place), 30), *(_wrapped(name, 16) for name in names)]
        texts.append(tabulate(table, headers, tablefmt="simple", disable_numparse=True))
    return "\n\n".join(texts)


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width))


def _terminal_verdicts(rows: pd.DataFrame, models: list[str]) -> list[list[str]]:
    """A line of verdicts for each norm, or one for all where they do not differ."""
    found = rows.assign(norm=rows["norm"].replace(VERDICT_NORMS))
    found = found.drop_duplicates(["model", "norm"]).pivot(
        index="norm", columns="model", values="verdict"
    )
    found = found.loc[list(dict.fromkeys(found.index)), models]
    if (found.nunique() <= 1).all():
        return [["evaluation", *(found[model].dropna().iloc[0] for model in models)]]
    return [
        [f"evaluation, {norm_title(norm)}", *found.loc[norm].fillna("not run")]
        for norm in found.index
    ]


def _terminal_cell(cells: pd.DataFrame, model: str) -> str:
    if model not in cells.index or pd.isna(cells.at[model, "pooled"]):
        return "not run"
    cell = cells.loc[model]
    return f"{cell['pooled']:.3f}\n[{cell['low']:.3f}, {cell['high']:.3f}]"
