"""The documentation builds without a warning, and is readable without a network."""

import subprocess
import sys

import pytest

from assay.foundation.resources import ROOT

pytestmark = pytest.mark.slow
PAGES = ("index.html", "docs/statistics.html", "reference/attacks/fgsm.html")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, ROOT / "docs/make_site.py", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def test_every_module_and_every_page_is_in_the_site(site):
    modules = {
        path.relative_to(ROOT / "workflow/assay").with_suffix(".html")
        for path in (ROOT / "workflow/assay").glob("*/[!_]*.py")
    }
    assert len(modules) > 100
    assert all((site / "reference" / module).is_file() for module in modules)
    page = (site / "reference/attacks/fgsm.html").read_text()
    assert "arXiv:1611.01236" in page  # from the docstring
    for path in (ROOT / "docs").rglob("*.md"):
        name = "index" if path.stem == "README" else path.stem
        assert (site / path.relative_to(ROOT).with_name(f"{name}.html")).is_file(), path


def test_pages_ask_for_nothing_outside_and_fit_a_telephone(site, tab):
    tab.requests.clear()
    for name in PAGES:
        for width, dark in ((390, False), (1440, True)):
            tab.open(site / name, width=width, dark=dark)
            wide = tab.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, name
    assert tab.requests
    assert all(address.startswith("file://") for address in tab.requests)
