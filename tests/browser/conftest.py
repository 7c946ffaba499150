"""The report that the browser tests open, and the browser.

Without the environment variable ASSAY_REPORT the tests render a made-up run; with it (the path of a
``report/{scale}`` folder) they open the page that a real run has rendered.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import browser
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "analysis"))


@dataclass(frozen=True)
class Report:
    """A rendered report: its page and the files that must be on it."""

    folder: Path

    @property
    def page(self) -> Path:
        return self.folder / "index.html"

    @property
    def studies(self) -> list[str]:
        return sorted(path.parent.name for path in self.folder.glob("*/headline.csv"))

    def names(self, study: str, kind: str, ending: str) -> list[str]:
        return sorted(path.stem for path in (self.folder / study / kind).glob(f"*.{ending}"))


@pytest.fixture(scope="session")
def report(tmp_path_factory) -> Report:
    """The report of ASSAY_REPORT, else of a made-up run."""
    rendered = os.environ.get("ASSAY_REPORT")
    if rendered:
        if not (Path(rendered) / "index.html").is_file():
            pytest.fail(f"ASSAY_REPORT: there is no page {rendered}/index.html")
        return Report(Path(rendered))
    import report_factory

    base = tmp_path_factory.mktemp("report")
    models = ("resnet18_text", "gbz_as_coded")
    inputs = report_factory.make_inputs(base / "run", models=models, folds=2, per_fold=12)
    folder = base / report_factory.SCALE
    report_factory.write_report(folder, inputs, report_factory.make_study(inputs))
    return Report(folder)


@pytest.fixture(scope="session")
def tab():
    """One page of one headless Chromium for all tests."""
    if browser.CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian package chromium)")
    with browser.chromium() as page:
        yield page


@pytest.fixture
def page(tab, report):
    """The report in a light window of 1280 pixels, freshly loaded, with nothing noted so far."""
    tab.problems.clear()
    tab.requests.clear()
    tab.open(report.page)
    return tab
