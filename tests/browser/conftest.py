"""The report that the browser tests open, and the browser.

It is the page that the tests' own run at scale smoke has rendered, or the one in the folder
(``report/{scale}``) that the environment variable ASSAY_REPORT names. Without Chromium the tests
are skipped, or fail where ASSAY_BROWSER is ``required``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import browser
import pytest


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
def report(request) -> Report:
    """The report of ASSAY_REPORT, else the one that a run at scale smoke has rendered."""
    rendered = os.environ.get("ASSAY_REPORT")
    if not rendered:
        return Report(request.getfixturevalue("smoke").folder / "report" / "smoke")
    if not (Path(rendered) / "index.html").is_file():
        pytest.fail(f"ASSAY_REPORT: there is no page {rendered}/index.html")
    return Report(Path(rendered))


@pytest.fixture(scope="session")
def tab():
    """One page of one headless Chromium for all tests."""
    if browser.CHROMIUM is None:
        required = os.environ.get("ASSAY_BROWSER") == "required"
        (pytest.fail if required else pytest.skip)(
            "Chromium is not installed (Debian package chromium)"
        )
    with browser.chromium() as page:
        yield page


@pytest.fixture
def page(tab, report):
    """The report in a light window of 1280 pixels, freshly loaded, with nothing noted so far."""
    tab.problems.clear()
    tab.requests.clear()
    tab.open(report.page)
    return tab
