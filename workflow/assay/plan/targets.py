"""The files that a plan's target rules ask for."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from assay.foundation.resources import PACKAGE, from_here
from assay.plan import paths
from assay.plan.plan import Plan


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
    scale = plan.scale
    tables, figures, statistics = {}, {}, {}
    for name, study in plan.studies.items():
        ids = {"scale": scale, "study": name}
        tables[name] = [
            paths.at(paths.table(form), **ids, table=table)
            for table in study.tables
            for form in paths.TABLE_FORMATS
        ]
        figures[name] = [
            paths.at(paths.figure(form), **ids, figure=figure)
            for figure in study.figures
            for form in paths.FIGURE_FORMATS
        ]
        statistics[name] = [
            paths.at(template, **ids)
            for template in (
                *(paths.analysis(p, f) for p in paths.ANALYSES for f in paths.TABLE_FORMATS),
                paths.PROVENANCE,
            )
        ]
    return Targets(
        page=paths.at(paths.PAGE, scale=scale),
        splits=sorted(
            {
                paths.at(paths.SPLIT, scale=scale, dataset=dataset, split=split)
                for study in plan.studies.values()
                for dataset, split in study.splits
            }
        ),
        models=[paths.at(paths.WEIGHTS, scale=scale, **item._asdict()) for item in plan.trainings],
        outcomes=[paths.at(paths.OUTCOMES, scale=scale, **cell._asdict()) for cell in plan.cells],
        tables=list(chain.from_iterable(tables.values())),
        figures=list(chain.from_iterable(figures.values())),
        statistics=list(chain.from_iterable(statistics.values())),
        by_study={name: tables[name] + figures[name] + statistics[name] for name in plan.studies},
        templates=sorted(from_here(path) for path in (PACKAGE / "report/templates").iterdir()),
    )
