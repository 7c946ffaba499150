"""The typed study: what is read is what was written, and a mistake is one line."""

import json

import pytest
from factory import REPOSITORY, study

from assay.analysis.brief import KINDS, Headline, StudyBrief, parse_brief
from assay.analysis.kept import as_it_ran, run_facts
from assay.analysis.run_files import RunFile, RunFiles, parse_run_files
from assay.foundation.errors import AssayError
from assay.foundation.files import read_json

RECORDS = sorted(REPOSITORY.glob("report/workstation/*/records.json"))


def test_a_brief_comes_back_from_json_as_it_was():
    brief = study(excluded={"grid": [{"datasets": ["a"], "models": ["b"], "attacks": ["c"]}]})
    assert parse_brief(json.loads(json.dumps(brief.to_json()))) == brief
    assert brief.excluded.grid[0].models == ("b",)
    assert brief.reported.words("models")["GBZ"] == brief.reported.models["GBZ"]
    assert [brief.entries(kind) for kind in KINDS][KINDS.index("models")] == brief.models


def test_what_is_empty_is_not_written():
    assert StudyBrief(headline=Headline(models=("a",))).to_json() == {"headline": {"models": ["a"]}}
    assert parse_brief({}) == StudyBrief()
    assert StudyBrief().to_json() == {}


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_committed_records_are_read_and_kept_as_they_are(path):
    written = read_json(path)["study"]
    ran = parse_brief(written, where=path)
    assert ran.to_json() == written
    assert run_facts(ran) == ran
    again = as_it_ran(StudyBrief(title="Today", radii=("0.1",)), ran)
    assert (again.title, again.radii, again.seed) == ("Today", ("0.1",), ran.seed)
    assert again.models.keys() == ran.models.keys()


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"headlin": {}}, "headlin: unknown key; did you mean 'headline'?"),
        ({"headline": {"modls": []}}, "headline.modls: unknown key; did you mean 'models'?"),
        ({"seed": "x"}, "seed: it is 'x': input should be a valid integer"),
        ({"models": {"cnn": 3}}, "models.cnn: it is 3: input should be a valid dictionary"),
        ({"excluded": {"grid": [{"datasets": []}]}}, "excluded.grid.0.models: it is missing"),
        ([], ": it is []: input should be a dictionary"),
    ],
)
def test_a_key_or_a_type_that_no_brief_has_is_an_error_of_one_line(tree, message):
    with pytest.raises(AssayError) as raised:
        parse_brief(tree, where="records.json")
    text = str(raised.value)
    assert text.startswith("records.json")
    assert message in text
    assert "\n" not in text


def test_the_files_of_a_run_come_back_from_json_as_they_were():
    suite = RunFile(dataset="d", split="s_0", model="m", suite="x", path="o.parquet")
    files = RunFiles(scale="toy", seed=0, outcomes=(suite,), reported=("printed.csv",))
    assert parse_run_files(json.loads(json.dumps(files.to_json()))) == files
    assert suite.to_json() == {
        "dataset": "d", "split": "s_0", "model": "m", "suite": "x", "path": "o.parquet"
    }  # fmt: skip
    assert suite.of(dataset="d", suite="x")
    assert not suite.of(dataset="d", suite="y")
    assert suite.ids("suite", "model") == ("x", "m")
    assert suite.moved({"path": "p.parquet"}).place("path") == "p.parquet"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outcomes": [{"dataset": "d"}]}, "the manifest: outcomes.0.split: it is missing"),
        ({"outcome": []}, "the manifest: outcome: unknown key; did you mean 'outcomes'?"),
    ],
)
def test_a_manifest_that_lacks_an_id_or_has_an_unknown_key_is_an_error_of_one_line(change, message):
    with pytest.raises(AssayError) as raised:
        parse_run_files({"scale": "toy", "seed": 0, **change})
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
