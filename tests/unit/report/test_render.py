"""A report is made again from what is kept with it: in a fresh clone, without torch, in seconds."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import factory
import pandas as pd
import pytest

from assay.analysis.attack_set import AttackSet, attack_sets
from assay.analysis.kept import FILES, keep_study
from assay.analysis.run_files import KeptRun, RunFile
from assay.foundation.digest import code_digest
from assay.foundation.kept import IDS, KeptOutcomes
from assay.foundation.resources import ROOT, resource
from assay.plan.command import main
from assay.plan.configuration import read_configuration
from assay.plan.paths import ANALYSES
from assay.plan.plan import make_plan
from assay.plan.render import earlier_code, render

SCALE, STUDY = "workstation", "millner2024"
# Python with assay, but without what trains and attacks.
WITHOUT_TORCH = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "captum"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
from assay.plan.command import main
sys.exit(main(sys.argv[1:]))
"""
COMMITTED = sorted(ROOT.glob(f"report/*/*/{FILES[0]}"))
TRACKED = [path for path in COMMITTED if path.parts[-3] not in ("demo", "smoke")]


def command(*arguments):
    """Runs ``assay`` in a process of its own that has no torch."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "workflow")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The kept files of a made-up run of a real study, with the paths that the plan gives."""
    folder = tmp_path_factory.mktemp("run")
    plan = make_plan(read_configuration({"scale": SCALE, "studies": STUDY}))
    models = ("gbz_as_coded", "gbz")
    made = factory.write_run(folder / "made", models=models, folds=2, per_fold=24)
    manifest = replace(plan.manifest(STUDY), reported=())
    ids = (*IDS, "measurement")
    for kind in ("outcomes", "models", "measurements", "leakage"):
        sources = {item.ids(*ids): item for item in made.of_kind(kind)}
        items = [item for item in manifest.of_kind(kind) if item.ids(*ids) in sources]
        manifest = replace(manifest, **{kind: tuple(items)})
        for item in items:
            source = sources[item.ids(*ids)]
            for member in ("path", "examples", "history", "facts"):
                if source.place(member):
                    target = folder / item.place(member)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source.place(member), target)
    with pytest.MonkeyPatch.context() as patch:
        # The plan's paths are relative to the workflow's folder.
        patch.chdir(folder)
        keep_study(manifest, plan.brief(STUDY), folder / "kept" / STUDY)
    return folder / "kept"


def csv_files(folder):
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.csv")}


@pytest.fixture(scope="module")
def rendered(kept, tmp_path_factory):
    """What the command wrote in a process without torch, and that process."""
    # The page links what it is rendered from, which lies beside it.
    out = shutil.copytree(kept, tmp_path_factory.mktemp("rendered") / "report")
    return out, command("render", "--scale", SCALE, "--kept", kept, "--out", out)


def test_a_report_is_written_without_torch(rendered):
    out, done = rendered
    assert done.returncode == 0, done.stderr
    assert str(out / "index.html") in done.stdout
    study = make_plan(read_configuration({"scale": SCALE, "studies": STUDY})).studies[STUDY]
    wanted = {
        "index.html",
        *(f"{STUDY}/{place}.{form}" for place in ANALYSES for form in ("csv", "md", "tex", "json")),
        *(f"{STUDY}/tables/{name}.csv" for name in study.tables),
        *(f"{STUDY}/figures/{name}.{form}" for name in study.figures for form in ("svg", "txt")),
    }
    written = {path.relative_to(out).as_posix() for path in out.rglob("*.*")}
    assert wanted <= written
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "Medical MNIST" in page
    assert all(f'href="{STUDY}/{name}"' in page for name in FILES)


def test_what_was_not_run_is_not_run_and_no_mistake(rendered):
    headline = pd.read_csv(rendered[0] / STUDY / "headline.csv")
    assert set(headline.dropna(subset="pooled").model) == {"gbz_as_coded", "gbz"}
    ledger = pd.read_csv(rendered[0] / STUDY / "ledger.csv")
    assert (ledger[ledger.model == "resnet18"].verdict == "not run").all()


def test_rendering_twice_gives_the_same_bytes(kept, rendered, tmp_path):
    folder = shutil.copytree(kept, tmp_path / "report")
    render(SCALE, kept=folder)
    first = {p.relative_to(rendered[0]): p for p in rendered[0].rglob("*.*") if p.suffix != ".pdf"}
    assert len(first) > 30
    for name, path in first.items():
        assert (folder / name).read_bytes() == path.read_bytes(), name


def test_rows_of_earlier_code_are_marked_one_by_one(kept, tmp_path, monkeypatch):
    plan = make_plan(read_configuration({"scale": SCALE, "studies": STUDY}))
    outcomes = KeptOutcomes(kept / STUDY / FILES[0])
    items = tuple(RunFile(**dict(zip(IDS, key, strict=True))) for key in outcomes.keys)
    # The digests that the made-up files carry: of the code around a model, and of any attack.
    today = {"aa": "aa"}
    monkeypatch.setattr(
        "assay.plan.render.code_digest",
        lambda *sources: "c0de" if len(sources) > 1 else today.get(sources[0], "aa"),
    )
    run = KeptRun(scale=SCALE, seed=1, outcomes=items, kept=outcomes)
    assert earlier_code(plan, run) == []
    today["assay.attacks.fgsm:FGSM"] = "bb"
    changed = {
        name
        for name, entry in plan.configuration.catalogue["attacks"].items()
        if entry["implementation"] == "assay.attacks.fgsm:FGSM"
    }
    # Half of the time; no figure tells the age of a row.
    monkeypatch.setattr("assay.report.write.write_study_figure", lambda *_: None)
    result = render(SCALE, kept=kept, out=tmp_path)
    rows = pd.read_csv(tmp_path / STUDY / "statistics/accuracy.csv", keep_default_na=False)
    marked = rows[rows.code == "earlier"]
    assert {AttackSet.of("fgsm"), AttackSet("suite", "linf_whitebox")} <= set(attack_sets(marked))
    single = marked.worst_case == ""
    assert set(marked.attack[single]) <= changed
    assert not set(marked.attack) & {"clean", "pgd_linf", "pgd_l2", "one_pixel"}
    assert set(marked.norm) == {"linf"}
    assert set(rows.code) == {"earlier", "current"}
    assert result.earlier[STUDY] == len(marked)
    headline = pd.read_csv(tmp_path / STUDY / "headline.csv")
    assert set(headline.code.dropna()) <= {"earlier", "current"}


def test_only_what_snakemake_would_compute_again_is_of_earlier_code(tmp_path):
    """So are the rows of a network whose training starts from one that would be trained again."""
    study, on = "ju2021_eabs", ("mnist", "official_0")
    plan = make_plan(read_configuration({"scale": SCALE, "studies": study}))
    scripts = resource("workflow/scripts")

    def trained(model, code=None):
        item = next(item for item in plan.manifest(study).models if item.model == model)
        now = code_digest(scripts / "train_model.py", *plan.training_code(on[0], model))
        path = tmp_path / f"{model}.json"
        path.write_text(json.dumps({"provenance": {"code": code or now}}), encoding="utf-8")
        return item.moved({"facts": str(path)})

    def made(key):
        implementation = plan.entry("models", key[2])["implementation"]
        code = code_digest(scripts / "run_suite.py", implementation)
        return {"code": code, "attacks": {"clean": code_digest("assay.attacks.clean:Clean")}}

    outcomes = tuple(
        RunFile(dataset=on[0], split=on[1], model=model, suite="unperturbed")
        for model in ("cnn", "cnn_adv_linf", "eabs")
    )
    for code, expected in ((None, []), ("other", ["cnn", "cnn_adv_linf"])):
        models = (trained("cnn", code), trained("cnn_adv_linf"), trained("eabs"))
        kept = SimpleNamespace(made=made)
        run = KeptRun(scale=SCALE, seed=1, outcomes=outcomes, models=models, kept=kept)
        assert [row[2] for row in earlier_code(plan, run)] == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("none", "no kept study found"),
        ("lost", "records.json: the file is missing"),
        ("torn", "outcomes.parquet: cannot be read"),
        ("study", "there is no study 'milner2024'"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_its_remedy(kept, tmp_path, capsys, change, expected):
    folder = shutil.copytree(kept, tmp_path / "report")
    chosen = ["--study", "milner2024" if change == "study" else STUDY]
    if change == "none":
        shutil.rmtree(folder / STUDY)
        chosen = []
    elif change == "lost":
        (folder / STUDY / FILES[1]).unlink()
    elif change == "torn":
        (folder / STUDY / FILES[0]).write_bytes(b"PAR1")
    assert main(["render", "--scale", SCALE, "--kept", str(folder), *chosen]) == 1
    reported = capsys.readouterr().err
    assert expected in reported
    assert reported.count("\n") == 1
    assert any(word in reported for word in ("run", "did you mean", "take"))


def test_help_says_in_words_what_the_command_needs(capsys):
    with pytest.raises(SystemExit):
        main(["render", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for words in ("trains no network", "nor PyTorch", "--scale", "--study", "--out"):
        assert words in text


def test_planning_loads_nothing_that_samples():
    code = "import sys, assay.plan.command; print('matplotlib' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "workflow", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "False"


def same_numbers(first, second):
    """Whether two CSV files are equal but for the last digits, which processors round apart."""
    if first.read_bytes() == second.read_bytes():
        return True
    try:
        pd.testing.assert_frame_equal(
            pd.read_csv(first), pd.read_csv(second), rtol=1e-9, atol=1e-12
        )
    except AssertionError:
        return False
    return True


def test_only_last_digits_may_differ(tmp_path):
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("model,p\nx,0.0891272503610569\n")
    second.write_text("model,p\nx,0.0891272503610571\n")
    assert same_numbers(first, second)
    for other in ("model,p\nx,0.08912726\n", "model,p\ny,0.0891272503610569\n", "model,q\nx,1\n"):
        second.write_text(other)
        assert not same_numbers(first, second)


def test_committed_reports_are_what_their_kept_outcomes_give(tmp_path):
    assert TRACKED, "the repository has no kept report"
    for folder in dict.fromkeys(path.parents[1] for path in TRACKED):
        done = command("render", "--scale", folder.name, "--out", tmp_path / folder.name)
        assert done.returncode == 0, done.stderr
        kept = [path.parent for path in TRACKED if path.parents[1] == folder]
        for path in sorted(path for study in kept for path in study.rglob("*.csv")):
            again = tmp_path / folder.name / path.relative_to(folder)
            assert again.is_file(), f"{path} is not made any more: delete it"
            assert same_numbers(again, path), (
                f"{path} is not what its kept outcomes give: run `assay render --scale "
                f"{folder.name}` and commit what it writes"
            )


@pytest.mark.parametrize("path", TRACKED, ids=lambda path: "/".join(path.parts[-3:-1]))
def test_what_is_committed_for_a_study_stays_small(path):
    assert sum((path.parent / name).stat().st_size for name in FILES) <= 3e6
