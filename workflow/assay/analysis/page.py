"""The page that people open first: one self-contained HTML file made from written results.

Everything on it is read from the files of ``report/{scale}/{study}/``; nothing is computed anew, so
the page can never say something else than the tables and figures that it links to.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from assay.analysis.code_age import EARLIER
from assay.analysis.ledger import less_in_words
from assay.analysis.rows import PLACE, several_schemes
from assay.analysis.style import (
    Look,
    attack_title,
    looks,
    measured,
    number,
    radius_text,
    short_table,
    text_of,
    title_of,
)
from assay.foundation.errors import AssayError
from assay.foundation.files import write_text
from assay.foundation.provenance import provenance

TEMPLATES = Path(__file__).parent / "templates"
TITLE = "Which printed robustness numbers hold?"
LEDE = (
    "assay re-runs published robustness evaluations of image classifiers, with the published "
    "attacks and with stronger ones. Each accuracy below comes from stored decisions, one per "
    "image and attack. Square brackets hold 95 % Wilson intervals; a verdict says whether the "
    "evaluation itself can be trusted."
)
STAND_IN_WARNING = "Stand-ins were used. These are not the paper's numbers:"
DRAWINGS = {
    "training_curves": "Line charts",
    "latent_pca": "Scatter plot",
    "accuracy_curves": "Line charts with interval bands",
    "ledger_dumbbell": "Dot plot of printed and reproduced accuracies",
    "examples": "Grid of images",
    "compared_examples": "Grid of images",
    "reconstructions": "Grid of images and imitations",
    "certified_curves": "Line charts",
    "mcnemar_matrix": "Matrices of pairs of classifiers",
}
PHOTOGRAPHS = ("examples", "compared_examples", "reconstructions")
BADGES = (
    "sound",
    "suspect",
    "broken",
    "pass",
    "flag",
    "fail",
    "reproduced",
    "differs",
    "not run",
    "not comparable",
)
TABLE_FORMATS = {"CSV": "csv", "Markdown": "md", "LaTeX": "tex"}
FIGURE_FORMATS = {"SVG": "svg", "PDF": "pdf"}
# Tables of every study that are too long to be shown.
LINKED = {
    "accuracy": "Accuracy of every classifier under every attack",
    "cochran": "Cochran's Q: has any classifier another accuracy?",
    "resampled_t": "Corrected resampled t-test across splits",
}
ORIGINS = {
    "models": "Trained networks",
    "outcomes": "Outcomes of attacks",
    "features": "Latent features",
    "explained": "Reconstructions and certificates",
    "saliency": "Saliency maps",
    "analysis": "Analysis",
}
VERDICT_ORDER = ("reproduced", "differs", "not run", "not comparable")
BUDGETS = {"none": "", "l0": "{} px", "severity": "severity {}"}

Tree = Mapping[str, Any]


def render_page(scale: str, studies: Iterable[Tree], out: Path | str) -> None:
    """Writes the page of one scale.

    Args:
        scale: the scale's name.
        studies: study dicts as the plan gives them to the analysis; the files of each are in the
            folder of its ``name`` beside `out`.
        out: path of the page.

    Raises:
        AssayError: a file of a study is missing (the message names it).
    """
    out, studies = Path(out), list(studies)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"slug": _slug, "cell": _cell}
    made = provenance()
    page = environment.get_template("page.html.j2").render(
        title=f"assay, scale {scale}: {TITLE}",
        heading=TITLE,
        lede=LEDE,
        scale=_scale(scale, studies),
        studies=[_Study(study, out.parent).content() for study in studies],
        footer=f"Written by assay {made['assay'] or ''} with Python {made['python']}. "
        "Every table is linked as CSV, Markdown and LaTeX, every figure as SVG and PDF.",
        css=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        js=Markup((TEMPLATES / "page.js").read_text(encoding="utf-8")),
    )
    write_text(out, page)


def headline_text(headline: pd.DataFrame) -> str:
    """The headline table for a terminal.

    Args:
        headline: the frame of headline.csv.

    Returns:
        A table per data set and split scheme with a column per classifier: the verdict on its
        evaluation, then its accuracy under each attack with the 95 % interval below.
    """
    from tabulate import tabulate

    texts, several = [], several_schemes(headline)
    for (dataset, scheme), rows in headline.groupby(PLACE, sort=False):
        verdicts = rows.drop_duplicates("model").set_index("model")["verdict"]
        table = [["evaluation", *verdicts]]
        for (attack, epsilon), cells in rows.groupby(["attack", "epsilon"], sort=False):
            cells = cells.set_index("model")
            name = attack if attack == "clean" else f"{attack} {radius_text(epsilon)}"
            table.append([name, *(_terminal_cell(cells, model) for model in verdicts.index)])
        headers = [f"{dataset}, {scheme}" if several else dataset, *verdicts.index]
        texts.append(tabulate(table, headers, tablefmt="simple", disable_numparse=True))
    return "\n\n".join(texts)


def _terminal_cell(cells: pd.DataFrame, model: str) -> str:
    if model not in cells.index or pd.isna(cells.at[model, "pooled"]):
        return "not run"
    cell = cells.loc[model]
    return f"{cell['pooled']:.3f}\n[{cell['low']:.3f}, {cell['high']:.3f}]"


@dataclass(frozen=True)
class Column:
    """A table's column and how its cells are set: as number, short, sentence, text or badge."""

    name: str
    kind: str

    @classmethod
    def of(cls, name: str, cells: list[str]) -> Column:
        cells = [cell for cell in cells if cell]
        if cells and all(cell in BADGES for cell in cells):
            return cls(name, "badge")
        if cells and all(map(_is_numeric, cells)):
            return cls(name, "number")
        longest = max(map(len, cells), default=0)
        return cls(name, "short" if longest <= 28 else "text" if longest <= 60 else "sentence")


@dataclass(frozen=True)
class Table:
    """A table as the page shows it; cells are texts."""

    id: str
    title: str
    caption: str
    columns: list[Column]
    rows: list[list[str]]
    links: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def of(
        cls, id: str, title: str, caption: str, names: list[str], rows: list[list[str]], links=()
    ) -> Table:
        columns = [
            Column.of(name, [row[place] for row in rows]) for place, name in enumerate(names)
        ]
        return cls(id, title, caption, columns, rows, list(links))


class _Study:
    """One study's part of the page, from the files in its folder."""

    def __init__(self, study: Tree, base: Path):
        self.study, self.id, self.base = study, study["name"], base
        self.folder = base / self.id
        self.headline = self._csv("headline.csv")
        self.ledger = self._csv("ledger.csv")
        self.checks = self._csv("checks.csv")
        self.mcnemar = self._csv("statistics/mcnemar.csv")
        self.ranking = self._csv("statistics/ranking.csv")
        names = [*study["headline"].get("models", ()), *self.headline["model"]]
        self.looks = looks(names)
        order = {model: place for place, model in enumerate(self.looks)}
        self.headline = self.headline.sort_values(
            "model", key=lambda models: models.map(order), kind="stable"
        )
        self.several = self.headline["dataset"].nunique() > 1
        self.schemes = several_schemes(self.headline)

    def content(self) -> dict[str, Any]:
        """Everything that the template shows of this study."""
        figures = [self._figure(name, spec) for name, spec in self.study["figures"].items()]
        shown = ("accuracy_curves", "ledger_dumbbell")
        content = {
            "id": self.id,
            "title": self.study["title"],
            "short": self.id,
            "paper": _citation(self.study.get("paper", {})),
            "question": self.study.get("question", ""),
            "facts": self._facts(),
            "brief": self._brief(),
            "headline": self._headline(),
            "figures": figures,
            "curves": [f for f in figures if f["kind"] == "accuracy_curves"],
            "ledger": self._ledger(),
            "tables": [self._table(name, spec) for name, spec in self.study["tables"].items()],
            "others": [f for f in figures if f["kind"] not in shown],
            "statistics": [self._ranking(), self._mcnemar()],
            "linked": [
                (words, self._links(f"statistics/{name}")) for name, words in LINKED.items()
            ],
            "checks": self._checks(),
            "attacks": self._attacks(),
            "costs": self._costs(),
            "methods": [*self._methods(), ("Provenance", self._origins())],
            "provenance": [("Provenance as JSON", f"{self.id}/provenance.json")],
        }
        parts = {
            "headline": "Headline",
            "curves": "Curves",
            "ledger": "Ledger",
            "tables": "Tables",
            "others": "Figures",
            "statistics": "Significance",
            "checks": "Checks",
            "methods": "What was run",
        }
        anchors = {"others": "figures"}
        content["parts"] = [
            (anchors.get(key, key), name) for key, name in parts.items() if content[key]
        ]
        return content

    # --- words -------------------------------------------------------------------------------

    def _facts(self) -> list[tuple[str, str]]:
        head = self.headline
        attacks = set(self.mcnemar["attack"]) - {"clean"}
        attacks = {name for name in attacks if not name.startswith("all ")}
        data = ", ".join(self._title("datasets", name) for name in head["dataset"].unique())
        return [
            ("data set" + "s" * self.several, data),
            ("test images", f"{head['n'].max():,.0f}"),
            ("splits", f"{head['splits'].max():.0f}"),
            ("classifiers", str(head["model"].nunique())),
            ("attacks", str(len(attacks))),
            *([("seed", str(self.study["seed"]))] if "seed" in self.study else []),
        ]

    def _brief(self) -> list[str]:
        """What the headline, the ledger and the checks say, in sentences."""
        sentences = []
        for place, head in self.headline.groupby(PLACE, sort=False):
            where = self._place(*place)
            where = f"{where}: " if where else ""
            clean = head[head["attack"] == "clean"]["pooled"]
            if len(clean):
                range_of = f"accuracies range from {clean.min():.3f} to {clean.max():.3f}"
                if len(clean) == 1:
                    range_of = f"accuracy is {clean.item():.3f}"
                sentences.append(f"{where}On unperturbed images the {range_of}.")
            attacked = head[head["attack"] != "clean"].dropna(subset="pooled")
            if len(attacked):
                # By the mean: the best classifiers of two attacks may differ by their images alone.
                cells = attacked.groupby(["attack", "epsilon"])["pooled"]
                hardest = attacked.loc[cells.idxmax()[cells.mean().idxmin()]]
                attack = self._attack(hardest["attack"], hardest["epsilon"])
                sentences.append(
                    f"{where}Of the attacks in the headline, {attack} costs most on average: "
                    f"the best classifier there, {self._title('models', hardest['model'])}, keeps "
                    f"{hardest['pooled']:.3f} [{hardest['low']:.3f}, {hardest['high']:.3f}]."
                )
        doubtful = self.headline[self.headline["verdict"] != "sound"]
        verdicts = [
            f"{self._title('models', row.model)} "
            f"({', '.join(filter(None, [self._place(row.dataset, row.scheme), row.verdict]))})"
            for row in doubtful.drop_duplicates([*PLACE, "model"]).itertuples()
        ]
        sentences.append(
            f"The evaluation is in doubt for {', '.join(verdicts)}; see the checks."
            if verdicts
            else "No check casts doubt on the evaluation of any classifier."
        )
        return [*sentences, *self._earlier_code(), self._ledger_summary()]

    def _earlier_code(self) -> list[str]:
        """How many numbers of the headline today's code has not computed, if any."""
        count = int((self.headline.get("code", pd.Series(dtype=object)) == EARLIER).sum())
        if not count:
            return []
        return [
            f"{count} of the {len(self.headline)} accuracies in the headline were computed with an "
            "earlier version of the code; the column code of its CSV file names them."
        ]

    def _ledger_summary(self) -> str:
        counts = self.ledger["verdict"].value_counts()
        compared = counts.get("reproduced", 0) + counts.get("differs", 0)
        return (
            f"Of {len(self.ledger)} printed values this run could compare {compared}: "
            f"{counts.get('reproduced', 0)} are reproduced, {counts.get('differs', 0)} differ"
            f"{less_in_words(self.ledger)}; "
            f"{counts.get('not run', 0)} were not run and {counts.get('not comparable', 0)} are "
            "not comparable."
        )

    # --- tables ------------------------------------------------------------------------------

    def _headline(self) -> dict[str, Any]:
        cells = self._cells()
        columns = []
        for attack, epsilon in cells:
            columns.append(
                {
                    "name": self._title("attacks", attack),
                    "detail": self._budget(attack, epsilon),
                }
            )
        rows = []
        for (*place, model), own in self.headline.groupby([*PLACE, "model"], sort=False):
            known = {(cell.attack, cell.epsilon): cell for cell in own.itertuples()}
            rows.append(
                {
                    "name": self._title("models", model),
                    "detail": self._place(*place),
                    "look": self._look(model),
                    "verdict": own["verdict"].iloc[0],
                    "cells": [self._headline_cell(known.get(key)) for key in cells],
                }
            )
        n, splits = self.headline["n"].dropna(), self.headline["splits"].max()
        size = f"{n.min():,.0f}" if n.min() == n.max() else f"{n.min():,.0f} to {n.max():,.0f}"
        return {
            "columns": columns,
            "rows": rows,
            "caption": f"Pooled accuracy over {splits:.0f} splits; n = {size} images per cell. "
            "Bars run from 0 to 1: the tick is the accuracy, the band its 95 % Wilson interval. "
            "Classifiers that share a letter in a column do not differ significantly (exact "
            "McNemar tests, Holm's correction).",
            "links": self._links("headline"),
        }

    def _cells(self) -> list[tuple[str, float]]:
        """The headline's (attack, epsilon) pairs in the study's order, those not run included."""
        known = list(
            dict.fromkeys(zip(self.headline["attack"], self.headline["epsilon"], strict=True))
        )
        cells = []
        for cell in self.study["headline"]["cells"]:
            attack, wanted = cell["attack"], cell.get("epsilon")
            found = [
                (name, epsilon)
                for name, epsilon in known
                if name == attack
                and (wanted is None or math.isclose(epsilon, wanted, abs_tol=1e-9))
            ]
            cells += found or [(attack, math.nan if wanted is None else wanted)]
        return cells

    def _headline_cell(self, cell: Any) -> dict[str, str] | None:
        if cell is None or pd.isna(cell.pooled):
            return None
        return {
            "value": f"{cell.pooled:.3f}",
            "interval": f"{cell.low:.3f}, {cell.high:.3f}",
            "low": f"{cell.low:.4f}",
            "high": f"{cell.high:.4f}",
            "at": f"{cell.pooled:.4f}",
            "group": text_of(cell.group),
        }

    def _ledger(self) -> dict[str, Any]:
        counts = self.ledger["verdict"].value_counts()
        order = [*VERDICT_ORDER, *(v for v in counts.index if v not in VERDICT_ORDER)]
        rows = []
        for row in self.ledger.itertuples():
            compared = not pd.isna(row.reproduced)
            rows.append(
                {
                    "place": short_table(row.table),
                    "model": text_of(row.model),
                    "measured": measured(row),
                    "reported": _number(row.reported, as_printed=True),
                    "reproduced": _number(row.reproduced),
                    "interval": ", ".join(_number(end)["text"] for end in (row.low, row.high))
                    if compared and not pd.isna(row.low)
                    else "",
                    "delta": _number(row.delta, signed=True),
                    "n": _number(row.n if compared else None, as_printed=True),
                    "verdict": row.verdict,
                    "reason": text_of(row.reason),
                    "note": text_of(row.note),
                }
            )
        return {
            "rows": rows,
            "counts": [(verdict, int(counts[verdict])) for verdict in order if verdict in counts],
            "summary": self._ledger_summary(),
            "caption": "Rows that were not run stay. Square brackets hold the 95 % Wilson interval "
            "of an accuracy and the range over splits of any other number; the difference is this "
            "run minus print.",
            "links": self._links("ledger"),
        }

    def _table(self, name: str, spec: Tree) -> Table:
        return self._written(f"table-{self.id}-{name}", f"tables/{name}", spec.get("title", name))

    def _written(self, anchor: str, place: str, title: str) -> Table:
        """A table as its Markdown file has it."""
        text, path = self._text(f"{place}.md"), self.folder / f"{place}.md"
        names, rows, words = read_markdown_table(text, where=path)
        return Table.of(anchor, title, words, names, rows, self._links(place))

    def _ranking(self) -> Table:
        frame = self._headline_rows(self.ranking)
        rows = [
            [
                self._attack(row.attack, row.epsilon),
                str(row.rank),
                self._title("models", row.model),
                f"{row.accuracy:.3f}",
                str(row.group),
                f"{row.n:,}",
            ]
            for row in frame.itertuples()
        ]
        return self._placed(
            frame,
            f"table-{self.id}-ranking",
            "Ranking with significance groups",
            "Classifiers by accuracy under the attacks of the headline; the files hold every "
            "attack. Those that share a letter are not significantly different at level 0.05 after "
            "Holm's correction; that does not mean that they are equal.",
            ["Attack", "Rank", "Classifier", "Accuracy", "Group", "n"],
            rows,
            self._links("statistics/ranking"),
        )

    def _mcnemar(self) -> Table:
        frame = self._headline_rows(self.mcnemar)
        rows = [
            [
                self._attack(row.attack, row.epsilon),
                self._title("models", row.model_a),
                self._title("models", row.model_b),
                f"{row.n:,}",
                _signed(row.difference),
                f"{row.only_a_right} / {row.only_b_right}",
                _p(row.exact_p),
                _p(row.mid_p),
                _p(row.holm_p),
                "yes" if row.significant else "n.s.",
                # Missing where so few images can show no difference at all.
                number(row.minimum_detectable_difference) or "–",
            ]
            for row in frame.itertuples()
        ]
        return self._placed(
            frame,
            f"table-{self.id}-mcnemar",
            "McNemar's test for each pair of classifiers",
            f"{len(rows)} of {len(self.mcnemar)} tests: those of the headline's attacks; the files "
            "hold all. The difference is accuracy A minus accuracy B on the same images; "
            "discordant pairs are images that only A or only B got right. Holm's correction runs "
            "over all tests of the data set. Where a test is n.s., true differences below the "
            "smallest detectable one may well have been missed: it is the one that the exact test "
            "finds with 80 % power at the level which Holm's correction left for it. A dash: so "
            "few images can show no difference at all.",
            [
                "Attack",
                "A",
                "B",
                "n",
                "Difference",
                "Only A / only B right",
                "Exact p",
                "Mid-p",
                "Holm p",
                "Significant",
                "Smallest detectable",
            ],
            rows,
            self._links("statistics/mcnemar"),
        )

    def _checks(self) -> Table:
        order = {"fail": 0, "flag": 1, "pass": 2}
        frame = self.checks.sort_values("status", key=lambda s: s.map(order), kind="stable")
        rows = [
            [
                self._title("models", row.model),
                row.status,
                text_of(row.check),
                text_of(row.sentence),
            ]
            for row in frame.itertuples()
        ]
        counts = ", ".join(f"{(frame['status'] == s).sum()} {s}" for s in order)
        return self._placed(
            frame,
            f"table-{self.id}-checks",
            "Automatic checks of the evaluation",
            f"{len(rows)} checks: {counts}; doubtful ones first. One failure makes the evaluation "
            "of a classifier broken, one flag makes it suspect. Passing all of them does not prove "
            "that no stronger attack exists.",
            ["Classifier", "Status", "Check", "Finding"],
            rows,
            self._links("checks"),
        )

    def _placed(
        self, frame: pd.DataFrame, id: str, title: str, caption: str, names: list[str],
        rows: list[list[str]], links: list[tuple[str, str]],
    ) -> Table:  # fmt: skip
        """A table of a frame's rows, their data set and split scheme in front if not all one."""
        if self.several or self.schemes:
            names = ["Data", *names]
            places = zip(frame["dataset"], frame["scheme"], strict=True)
            rows = [[self._place(*place), *row] for place, row in zip(places, rows, strict=True)]
        return Table.of(id, title, caption, names, rows, links)

    def _headline_rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A statistic's rows for the headline's attacks, in the headline's order."""
        places = {(a, round(e, 9)): i for i, (a, e) in enumerate(self._cells())}
        keys = [(a, round(e, 9)) for a, e in zip(frame["attack"], frame["epsilon"], strict=True)]
        place = pd.Series([places.get(key) for key in keys], index=frame.index, dtype=float)
        return frame[place.notna()].assign(place=place).sort_values("place", kind="stable")

    # --- figures and methods -----------------------------------------------------------------

    def _figure(self, name: str, spec: Tree) -> dict[str, Any]:
        svg = self._text(f"figures/{name}.svg")
        size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', svg)
        width, height = (float(size[1]), float(size[2])) if size else (720.0, 480.0)
        words = self.folder / "figures" / f"{name}.txt"
        title = spec.get("title", name)
        return {
            "id": f"figure-{self.id}-{name}",
            "kind": spec["kind"],
            "title": title,
            "caption": words.read_text(encoding="utf-8").strip() if words.is_file() else "",
            "alt": f"{DRAWINGS.get(spec['kind'], 'Figure')}: {title}",
            "drawing": spec["kind"] not in PHOTOGRAPHS,
            "source": "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode(),
            "shown": round(width * 4 / 3 * 1.2),
            "width": round(width * 4 / 3),
            "height": round(height * 4 / 3),
            "links": self._links(f"figures/{name}", FIGURE_FORMATS),
        }

    def _methods(self) -> list[tuple[str, list[dict[str, Any]]]]:
        groups = {"datasets": "Data", "models": "Classifiers", "attacks": "Attacks"}
        return [
            (words, [self._method(kind, *item) for item in self.study[kind].items()])
            for kind, words in groups.items()
            if self.study.get(kind)
        ]

    def _attacks(self) -> Table:
        """Every attack that was run: what it needs, what it cost, where it is from."""
        passes = self._csv("statistics/accuracy.csv")
        passes = passes.groupby("attack")[["forwards", "backwards"]].max()
        rows = []
        for name, entry in self.study["attacks"].items():
            spent = passes.loc[name] if name in passes.index else None
            rows.append(
                [
                    self._title("attacks", name),
                    entry["norm"],
                    self.study["access"][name],
                    *(
                        "–" if spent is None else f"{spent[kind]:,.0f}"
                        for kind in ("backwards", "forwards")
                    ),
                    entry["source"],
                ]
            )
        return Table.of(
            f"{self.id}-attacks",
            "The attacks and what they cost",
            "Access is what an attack needs of the victim. Passes are spent on one image at the "
            "dearest budget, as a mean over images (broken ones leave early), of the classifier "
            "that cost most.",
            ["Attack", "Norm", "Access", "Gradient passes", "Forward passes", "Source"],
            rows,
        )

    def _costs(self) -> Table | None:
        """What the jobs cost; None where a report was written before costs were."""
        if not (self.folder / "statistics/costs.md").is_file():
            return None
        return self._written(f"{self.id}-costs", "statistics/costs", "What the jobs cost")

    def _method(self, kind: str, name: str, entry: Tree) -> dict[str, Any]:
        """A catalogue entry in words: where it is from, how it differs, what it was set to."""
        lines = []
        if isinstance(entry.get("source"), str):
            lines.append(f"Source: {entry['source']}")
        differences = entry.get("differences") or []
        lines += [f"Differs: {text}" for text in differences]
        settings = _flat({**(entry.get("settings") or {}), **(entry.get("training") or {})})
        if settings:
            lines.append("Settings: " + ", ".join(settings))
        if entry.get("epsilons"):
            lines.append(
                f"{entry.get('norm', '')} ε: " + ", ".join(f"{e:g}" for e in entry["epsilons"])
            )
        return {"name": name, "title": self._title(kind, name), "lines": lines}

    def _origins(self) -> list[dict[str, Any]]:
        """What the files say made them, without the digests of configurations."""
        made = self._json("provenance.json")
        entries = []
        for kind, title in ORIGINS.items():
            # A report that an earlier version wrote does not know of every kind.
            facts = made.get(kind, {"files": 0})
            files = facts.get("files")
            if files == 0:
                continue
            lines = [_work(facts)] if files else []
            lines += [_listed(words, facts.get(key)) for key, words in _DIGESTS.items()]
            versions = {"assay": facts.get("assay"), "Python": facts.get("python")}
            versions |= facts.get("packages", {})
            lines.append(_listed("Versions", {k: v for k, v in versions.items() if v}))
            lines.append(_listed("Platform", facts.get("platform")))
            size = "" if files is None else f"{files} file" + "s" * (files != 1)
            entries.append({"name": size, "title": title, "lines": list(filter(None, lines))})
        return entries

    # --- small things ------------------------------------------------------------------------

    def _place(self, dataset: str, scheme: str) -> str:
        """Data set and split scheme, as far as the study has several; empty if neither."""
        named = [self._title("datasets", dataset)] if self.several else []
        return ", ".join([*named, scheme] if self.schemes else named)

    def _title(self, kind: str, name: str) -> str:
        return title_of(self.study, kind, name)

    def _look(self, model: str) -> Look:
        return self.looks[model]

    def _budget(self, attack: str, epsilon: float) -> str:
        norm = self.study.get("attacks", {}).get(attack, {}).get("norm")
        form = BUDGETS.get(norm, "ε = {}")
        return "" if math.isnan(epsilon) else form.format(radius_text(epsilon))

    def _attack(self, attack: str, epsilon: float) -> str:
        budget = self._budget(attack, epsilon)
        return attack_title(self.study, attack) + (f" ({budget})" if budget else "")

    def _links(
        self, stem: str, formats: Mapping[str, str] = TABLE_FORMATS
    ) -> list[tuple[str, str]]:
        paths = {label: f"{self.id}/{stem}.{ending}" for label, ending in formats.items()}
        return [(label, path) for label, path in paths.items() if (self.base / path).is_file()]

    def _text(self, name: str) -> str:
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except OSError as error:
            raise AssayError(
                f"cannot be read ({error.strerror})",
                where=self.folder / name,
                remedy="run the workflow's target 'all', which makes it",
            ) from error

    def _json(self, name: str) -> Tree:
        return json.loads(self._text(name))

    def _csv(self, name: str) -> pd.DataFrame:
        self._text(name)
        return pd.read_csv(self.folder / name)


def read_markdown_table(
    text: str, *, where: object = None
) -> tuple[list[str], list[list[str]], str]:
    """The first pipe table of a Markdown text.

    Returns:
        Column names, rows of cell texts, and the words around the table.

    Raises:
        AssayError: there is no table.
    """
    lines = [line.strip() for line in text.splitlines()]
    table = [_split_row(line) for line in lines if line.startswith("|")]
    if len(table) < 2:
        raise AssayError("holds no Markdown table", where=where)
    words = " ".join(line.lstrip("# ") for line in lines if line and not line.startswith("|"))
    return table[0], table[2:], words


def _split_row(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))
    return [cell.strip().replace("\\|", "|") for cell in cells]


def _scale(name: str, studies: list[Tree]) -> dict[str, Any]:
    facts = next((study["scale_facts"] for study in studies if "scale_facts" in study), {})
    stand_ins = {
        f"{ours} stands in for {theirs}": None
        for study in studies
        for kind in ("datasets", "models")
        for theirs, ours in study.get("stand_ins", {}).get(kind, {}).items()
        if ours in study["titles"][kind]
    }
    return {
        "name": name,
        "title": facts.get("title", name).rstrip("."),
        "description": facts.get("description", ""),
        "warning": STAND_IN_WARNING,
        "stand_ins": list(stand_ins),
    }


def _citation(paper: Tree) -> str:
    year = f" ({paper['year']})" if "year" in paper else ""
    return f"{paper.get('authors', '')}{year}: {paper['title']}" if "title" in paper else ""


def _flat(settings: Tree, prefix: str = "") -> list[str]:
    """Nested settings as words: ``scheduler.gamma 0.1``."""
    words = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            words += _flat(value, f"{prefix}{key}.")
        else:
            words.append(f"{prefix}{key} {'none' if value is None else value}")
    return words


_DIGESTS = {"code": "Code", "attacks": "Code of attacks", "data": "Data"}


def _work(facts: Tree) -> str:
    """How long the making of files took, where and when: ``2.1 hours on cpu, 1 thread; …``."""
    seconds = facts["seconds"]
    size, unit = (seconds / 3600, "hours") if seconds >= 5400 else (seconds / 60, "minutes")
    threads = facts.get("threads")
    parts = [
        f"{size:.1f} {unit}",
        f" on {_joined(facts['device'])}" if facts.get("device") else "",
        f", {_joined(threads)} thread{'s' * (threads != [1])}" if threads else "",
        f"; seed {_joined(facts['seed'])}" if facts.get("seed") else "",
    ]
    days = list(dict.fromkeys(moment[:10] for moment in facts["written"]))
    return "".join(parts) + (f"; written {' to '.join(days)}" if days else "")


def _listed(words: str, values: Any) -> str:
    """Distinct values after a word: ``Code: linf_whitebox 12ab, 34cd; natural 56ef``."""
    if not values:
        return ""
    if isinstance(values, Mapping):
        return f"{words}: " + "; ".join(f"{key} {_joined(part)}" for key, part in values.items())
    return f"{words}: {_joined(values)}"


def _joined(values: Any) -> str:
    return ", ".join(map(str, values)) if isinstance(values, list) else str(values)


def _is_numeric(cell: str) -> bool:
    return bool(re.fullmatch(r"[-−+±<≥≤~\d.,%/\[\]()\s*e–—]*", cell)) and bool(
        re.search(r"\d|^[–—-]$", cell)
    )


def _cell(text: str) -> Markup:
    """A cell's text as HTML: intervals set small, Markdown's emphasis and code understood."""
    html = str(escape(text))
    html = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html)
    html = re.sub(r"`(.+?)`", r"<code>\1</code>", html)
    html = re.sub(r"(\[[^\]]*\d[^\]]*\])", r'<span class="interval">\1</span>', html)
    return Markup(html)


def _slug(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower())


def _number(value: Any, **form: bool) -> dict[str, str]:
    """A number for reading (`text`) and for sorting (`value`)."""
    text = number(value, **form)
    return {"text": text, "value": f"{value:.10g}" if text else ""}


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _p(value: float) -> str:
    return "" if pd.isna(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
