"""The files that a plan's target rules ask for."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from assay.foundation.resources import PACKAGE, from_here
from assay.plan.plan import Plan

# The tables that every study has, by their places in its folder (`assay.analysis.tables.ANALYSES`).
ANALYSES = (
    "statistics/accuracy",
    "statistics/mcnemar",
    "statistics/between_splits",
    "statistics/ranking",
    "statistics/cochran",
    "statistics/resampled_t",
    "statistics/costs",
    "ledger",
    "checks",
    "headline",
)
TABLE_FORMATS = ("csv", "md", "tex")
FIGURE_FORMATS = ("svg", "pdf")


@dataclass(frozen=True)
class Targets:
    """Paths by target; ``by_study`` holds what one study's own target asks for."""

    page: str
    splits: list[str]
    models: list[str]
    outcomes: list[str]
    tables: list[str]
    figures: list[str]
    statistics: list[str]
    by_study: dict[str, list[str]]
    templates: list[str]

    @property
    def analyses(self) -> list[str]:
        return self.tables + self.figures + self.statistics


def make_targets(plan: Plan) -> Targets:
    """All target files of a plan, relative to the working folder."""
    results, report = f"results/{plan.scale}", f"report/{plan.scale}"
    tables, figures, statistics = {}, {}, {}
    for name, study in plan.studies.items():
        folder = f"{report}/{name}"
        tables[name] = [
            f"{folder}/tables/{table}.{form}" for table in study.tables for form in TABLE_FORMATS
        ]
        figures[name] = [
            f"{folder}/figures/{figure}.{form}"
            for figure in study.figures
            for form in FIGURE_FORMATS
        ]
        statistics[name] = [
            *(f"{folder}/{place}.{form}" for place in ANALYSES for form in TABLE_FORMATS),
            f"{folder}/provenance.json",
        ]
    return Targets(
        page=f"{report}/index.html",
        splits=sorted(
            {
                f"{results}/splits/{dataset}/{split}.parquet"
                for study in plan.studies.values()
                for dataset, split in study.splits
            }
        ),
        models=[
            f"{results}/models/{'/'.join(item)}/weights.safetensors" for item in plan.trainings
        ],
        outcomes=[f"{results}/outcomes/{'/'.join(cell)}.parquet" for cell in plan.cells],
        tables=list(chain.from_iterable(tables.values())),
        figures=list(chain.from_iterable(figures.values())),
        statistics=list(chain.from_iterable(statistics.values())),
        by_study={name: tables[name] + figures[name] + statistics[name] for name in plan.studies},
        templates=sorted(from_here(path) for path in (PACKAGE / "analysis/templates").iterdir()),
    )
