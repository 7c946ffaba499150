"""The scripts of the analysis write what their rules declare, and nothing else."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
from factory import REPOSITORY

from assay.analysis.kept import FILES
from assay.foundation.files import read_json
from assay.plan.paths import ANALYSES, TABLE_FORMATS


def run_script(name, folder, **job):
    runpy.run_path(
        str(REPOSITORY / f"workflow/scripts/{name}.py"),
        init_globals={"snakemake": SimpleNamespace(log=[str(folder / "job.log")], **job)},
        run_name="__main__",
    )


def test_every_table_is_written_in_each_format_and_the_provenance_beside_them(small_run, tmp_path):
    manifest = small_run.manifest.to_json()
    folder = tmp_path / "report"
    kept = tmp_path / "kept"
    run_script(
        "keep_outcomes",
        tmp_path,
        params=SimpleNamespace(study=small_run.study.to_json(), manifest=manifest, limit=3),
        output=SimpleNamespace(outcomes=str(kept / FILES[0])),
    )
    assert {path.name for path in kept.iterdir()} == set(FILES)
    tables = {Path(place).name: str(folder / f"{place}.csv") for place in ANALYSES}
    run_script(
        "analyse_study",
        tmp_path,
        input=SimpleNamespace(kept=[str(kept / name) for name in FILES]),
        params=SimpleNamespace(study=small_run.study.to_json(), manifest=manifest, code="ab"),
        output={**tables, "provenance": str(folder / "provenance.json")},
    )
    declared = {f"{place}.{form}" for place in ANALYSES for form in TABLE_FORMATS}
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
    assert written == declared | {"provenance.json"}
    assert set(pd.read_csv(folder / "checks.csv").model) == {"resnet18_text", "gbz_as_coded"}
    made = read_json(folder / "provenance.json")
    assert made["outcomes"]["files"] == len(manifest["outcomes"])
    assert made["analysis"]["code"] == "ab"
