"""All studies but the main one, at scale smoke: the longest test, so its file is the first."""

import pytest

from assay.foundation.resources import ROOT
from assay.plan.configuration import read_configuration
from assay.plan.plan import make_plan
from assay.plan.targets import make_targets

pytestmark = pytest.mark.slow

MAIN = read_configuration({"scale": "smoke"}).studies
OTHERS = sorted({path.stem for path in (ROOT / "config/studies").glob("*.yaml")} - {*MAIN})


def test_all_other_studies_run_whole_and_are_then_up_to_date(project):
    """In one run: the last jobs of one study share the cores with the first of the next."""
    config = ["--config", "scale=smoke", f"studies=[{','.join(OTHERS)}]"]
    project.snakemake(*config)
    targets = make_targets(make_plan(read_configuration({"scale": "smoke", "studies": OTHERS})))
    for target in (targets.page, *targets.outcomes, *targets.analyses):
        assert (project.folder / target).stat().st_size > 0, target
    page = (project.folder / targets.page).read_text(encoding="utf-8")
    assert all(f'id="{study}"' in page for study in OTHERS)
    assert project.planned(*config) == {}
