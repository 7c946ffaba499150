"""Pictures in the dark theme, pixel by pixel: radiographs stay as they are, drawings turn."""

import numpy as np
import pandas as pd
import pytest

from assay.analysis.brief import parse_brief
from assay.analysis.ledger import COLUMNS as LEDGER
from assay.foundation.files import write_json, write_text
from assay.report.page import render_page
from assay.report.tables.stored import StoredTable

pytestmark = pytest.mark.slow
# A radiograph: air is dark, what absorbs is light. The figure's frame is white as figures are.
DARK, LIGHT = 24, 225
RADIOGRAPH = f"""<svg xmlns="http://www.w3.org/2000/svg" width="288pt" height="288pt"
 viewBox="0 0 288 288"><rect width="100%" height="100%" fill="#ffffff"/>
<rect x="48" y="48" width="192" height="192" fill="rgb({DARK},{DARK},{DARK})"/>
<circle cx="144" cy="144" r="40" fill="rgb({LIGHT},{LIGHT},{LIGHT})"/></svg>"""
PHOTOGRAPHS = ("saliency", "examples", "compared_examples", "reconstructions")
DRAWINGS = ("accuracy_curves", "mcnemar_matrix")
CELL = {
    "dataset": "scans", "scheme": "official", "model": "net", "suite": "plain", "attack": "clean",
    "worst_case": "", "norm": "none", "epsilon": 0.0, "n": 100, "samples": 100, "splits": 1,
    "accuracy": 0.9, "pooled": 0.9, "low": 0.8, "high": 0.95, "forwards": 1, "backwards": 0,
    "verdict": "sound", "because": "", "group": "a",
}  # fmt: skip
TITLES = {
    "datasets": {"scans": "Scans"}, "models": {"net": "A network"}, "attacks": {"clean": "Clean"},
    "suites": {"plain": "Plain"}, "splits": {"official": "Official"},
}  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of which every figure, whatever its kind, is the same radiograph."""
    base = tmp_path_factory.mktemp("pictures")
    statistics = base / "study" / "statistics"
    statistics.mkdir(parents=True)
    keys = ["dataset", "scheme", "split", "suite", "attack", "worst_case", "norm", "epsilon"]
    frames = {
        "headline": [CELL],
        "ledger": pd.DataFrame(columns=list(LEDGER)),
        "checks": pd.DataFrame(columns=["dataset", "scheme", "model", "status"]),
        "statistics/accuracy": [CELL],
        "statistics/mcnemar": pd.DataFrame(columns=keys),
        "statistics/ranking": pd.DataFrame(columns=keys),
    }
    for name, rows in frames.items():
        pd.DataFrame(rows).to_csv(base / "study" / f"{name}.csv", index=False)
    shown = StoredTable(("Model",), (("A network",),), frozenset(), "Words.")
    write_text(base / "study" / "headline.json", shown.to_json())
    write_json(base / "study" / "provenance.json", {})
    figures = {}
    for kind in (*PHOTOGRAPHS, *DRAWINGS):
        figures[kind] = {
            "kind": kind, "title": kind, "model": "net", "models": ["net"], "attack": "clean",
            "attacks": ["clean"], "datasets": ["scans"],
        }  # fmt: skip
        write_text(base / "study" / "figures" / f"{kind}.svg", RADIOGRAPH)
    study = {
        "name": "study", "title": "A study", "scale": "small", "seed": 0, "titles": TITLES,
        "headline": {"models": ["net"], "cells": [{"attack": "clean"}]},
        "attacks": {"clean": {"norm": "none", "source": "none"}}, "access": {"clean": "none"},
        "tables": {}, "figures": figures,
    }  # fmt: skip
    render_page("small", [parse_brief(study)], base / "index.html")
    return base / "index.html"


def shades(tab, kind):
    """Grey values of air, lesion and frame of a figure, as the screen shows them."""
    image = f"document.querySelector('#figure-study-{kind} img')"
    tab.evaluate(f"{image}.decode().then(() => true)")
    box = tab.evaluate(
        f"(() => {{ const box = {image}.getBoundingClientRect();"
        " return [box.left + scrollX, box.top + scrollY, box.width, box.height]; })()"
    )
    shot = tab.pixels(*box)
    high, wide = shot.shape[:2]
    places = [(0.25, 0.25), (0.5, 0.5), (0.08, 0.5)]
    spots = [(int(y * high), int(x * wide)) for x, y in places]
    return [float(np.median(shot[y - 2 : y + 3, x - 2 : x + 3])) for y, x in spots]


@pytest.mark.parametrize("kind", PHOTOGRAPHS)
def test_a_radiograph_is_no_negative_in_the_dark_theme(tab, page, kind):
    tab.open(page)
    assert shades(tab, kind)[:2] == pytest.approx([DARK, LIGHT], abs=3)
    tab.look(width=1280, dark=True)
    assert shades(tab, kind)[:2] == pytest.approx([DARK, LIGHT], abs=3)
    tab.look(width=1280)
    tab.evaluate("document.querySelector('button.theme').click()")
    try:
        background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == "rgb(18, 22, 27)", "the button has made the page dark"
        assert shades(tab, kind)[:2] == pytest.approx([DARK, LIGHT], abs=3)
    finally:
        tab.evaluate("localStorage.clear()")


@pytest.mark.parametrize("kind", DRAWINGS)
def test_a_drawing_follows_the_dark_page(tab, page, kind):
    tab.open(page, dark=True)
    air, lesion, frame = shades(tab, kind)
    assert air > 180
    assert lesion < 80
    assert frame < 60
