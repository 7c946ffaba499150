"""A made-up run (see factory.py) taken through the analysis: the files that the page reads."""

from __future__ import annotations

from pathlib import Path

import factory

from assay.analysis.brief import StudyBrief
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.run_provenance import provenance_summary
from assay.foundation.files import write_json, write_text
from assay.plan.paths import ANALYSES
from assay.report.figures.draw import caption, draw_figure, save_figure
from assay.report.page import render_page
from assay.report.spec import spec_of
from assay.report.tables.build import analysis_table, build_table
from assay.report.tables.files import write_table
from assay.report.tables.headline import Headline, headline_table
from assay.report.tables.parts import Table

SCALE = "synthetic"
EMPTY_SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="72pt" height="36pt"/>'


def make_inputs(folder: Path, **sizes) -> AnalysisInputs:
    """A made-up run below `folder`."""
    return AnalysisInputs(factory.write_run(folder, **sizes), factory.study())


def make_study(inputs: AnalysisInputs) -> StudyBrief:
    """The made-up study with what the plan adds for readers, and figures of every kind."""
    models = list(dict.fromkeys(inputs.accuracy.model))
    return factory.varied(
        inputs.study,
        figures={
            **inputs.study.figures,
            "compared": {
                "kind": "compared_examples",
                "title": "What PGD makes of images against each model",
                "models": models,
                "attack": "pgd_linf",
            },
            "imitations": {
                "kind": "reconstructions",
                "title": "Why GBZ decides as it does",
                "model": "gbz_as_coded",
                "attack": "pgd_linf",
            },
            "by_size": {
                "kind": "accuracy_by_setting",
                "title": "Does a larger code help?",
                "setting": "latent_dim",
                "groups": [{"title": "GBZ", "models": ["resnet18_text", "gbz_as_coded"]}],
                "at": {"resnet18_text": 0},
                "reference": ["resnet18_text"],
                "cells": [{"attack": "clean"}, {"attack": "pgd_linf", "epsilon": 0.03}],
            },
            "imitations_by_size": {
                "kind": "reconstructions_by_setting",
                "title": "What codes of other sizes make of an image",
                "models": ["gbz_as_coded"],
                "setting": "latent_dim",
                "attack": "pgd_linf",
            },
            "looked_at": {
                "kind": "saliency",
                "title": "Where networks look",
                "models": models,
            },
            "regions": {
                "kind": "decision_regions",
                "title": "How networks divide their features",
                "models": models,
            },
            "pairs": {
                "kind": "mcnemar_matrix",
                "title": "McNemar's test for every pair",
                "attacks": ["pgd_linf", {"suite": "linf_whitebox"}],
            },
            "certified": {
                "kind": "certified_curves",
                "title": "Certified accuracy",
                "models": ["gbz_as_coded"],
                "attack": "pgd_l2",
            },
        },
        scale_facts={
            "title": "synthetic: made-up data",
            "description": "Every number on this page is made up, to test the page.",
        },
        datasets={
            factory.DATASET: {
                "title": "Medical MNIST",
                "source": "made up",
                "classes": list(factory.CLASSES),
            }
        },
    )


def table_of(kind: str, spec: dict, study: StudyBrief, inputs: AnalysisInputs) -> Table:
    """A table of a kind, or the headline."""
    if kind == "headline":
        return headline_table(spec_of(Headline, spec), study, inputs)
    return build_table({**spec, "kind": kind}, study, inputs)


def write_report(
    base: Path, inputs: AnalysisInputs, study: StudyBrief, *, drawn: bool = True
) -> Path:
    """Writes all analysis files of one study below `base` and the page beside them.

    Args:
        base: the folder ``report/{scale}``.
        inputs: the run.
        study: the study, as :func:`make_study` gives it.
        drawn: draw the figures; without, empty files stand in their place, which takes a tenth of
            the time.

    Returns:
        The page's path.
    """
    folder = base / study.name
    for place in ANALYSES:
        write_table(analysis_table(Path(place).name, study, inputs), folder / place)
    write_json(folder / "provenance.json", provenance_summary(inputs, code="c0de"))
    for name, spec in study.tables.items():
        write_table(build_table(spec, study, inputs), folder / "tables" / name)
    for name, spec in study.figures.items():
        if drawn:
            save_figure(draw_figure(spec, study, inputs), folder / "figures" / name)
        else:
            write_text(folder / "figures" / f"{name}.svg", EMPTY_SVG)
            write_text(folder / "figures" / f"{name}.pdf", "")
        write_text(folder / "figures" / f"{name}.txt", caption(spec, study, inputs) + "\n")
    page = base / "index.html"
    render_page(SCALE, [study], page)
    return page
