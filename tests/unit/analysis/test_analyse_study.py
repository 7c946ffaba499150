"""The script of the analysis writes what its rule declares, and nothing else."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
from factory import MODELS, REPOSITORY, write_run

from assay.foundation.files import read_json
from assay.plan.targets import ANALYSES, TABLE_FORMATS


def test_every_table_is_written_in_each_format_and_the_provenance_beside_them(tmp_path):
    models = list(MODELS)[:2]
    manifest = write_run(tmp_path / "run", models=models, folds=2, per_fold=12)
    folder = tmp_path / "report"
    tables = {Path(place).name: str(folder / f"{place}.csv") for place in ANALYSES}
    job = SimpleNamespace(
        log=[str(tmp_path / "job.log")],
        params=SimpleNamespace(study=manifest["study"], manifest=manifest, code="ab"),
        output=SimpleNamespace(**tables, provenance=str(folder / "provenance.json")),
    )
    script = REPOSITORY / "workflow/scripts/analyse_study.py"
    runpy.run_path(str(script), init_globals={"snakemake": job}, run_name="__main__")
    declared = {f"{place}.{form}" for place in ANALYSES for form in TABLE_FORMATS}
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
    assert written == declared | {"provenance.json"}
    assert set(pd.read_csv(folder / "checks.csv").model) == set(models)
    made = read_json(folder / "provenance.json")
    assert made["outcomes"]["files"] == len(manifest["outcomes"])
    assert made["analysis"]["code"] == "ab"
