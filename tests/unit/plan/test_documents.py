"""Documents and pins that must agree with what they speak of."""

import re
import tomllib
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
import yaml
from PIL import Image

from assay.data.dataset import load
from assay.data.prepare import prepare
from assay.foundation.keys import ABSENT, key
from assay.foundation.outcomes import SCHEMA
from assay.foundation.reported import COLUMNS
from assay.foundation.resources import ROOT
from assay.plan.configuration import read_configuration
from assay.plan.keys import FILES, documents, schema
from assay.plan.keys.build import rows, schema_of
from assay.plan.plan import make_plan


def pins(text):
    return dict(re.findall(r"^\s*(?:- )?([A-Za-z0-9_.-]+)==([^\s;]+)", text, re.MULTILINE))


LOCK = pins((ROOT / "envs/requirements.lock").read_text())


DOCUMENTS = documents()


@pytest.mark.parametrize("file", DOCUMENTS)
def test_schemas_and_tables_of_keys_are_those_of_the_dataclasses(file):
    written = (ROOT / file).read_text("utf-8")
    assert written == DOCUMENTS[file], "run `python -m assay.plan.keys`"


@pytest.mark.parametrize("name", FILES)
def test_the_configuration_page_describes_every_key_of_every_file(name):
    assert f"<!-- keys {name} -->\n" in (ROOT / "config/README.md").read_text("utf-8")
    found = schema(name)
    listed = list(rows(found if "properties" in found else found["additionalProperties"]))
    assert len(listed) > 2
    assert all(text for _, text, _ in listed)


def test_a_schema_states_what_its_dataclass_states():
    @dataclass(frozen=True, kw_only=True)
    class Line:
        form: Annotated[Literal["line"], key("a form")]
        length: Annotated[float, key("its length", gt=0)] = 2.0

    @dataclass(frozen=True, kw_only=True)
    class Circle:
        form: Annotated[Literal["circle"], key("a form")]
        radius: Annotated[int | None, key("its radius", ge=1)]
        note: str = ABSENT

    found = schema_of(list[Line | Circle])["items"]
    assert found["properties"] == {
        "form": {"enum": ["line", "circle"], "description": "a form"},
        "length": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "its length",
            "default": 2.0,
        },
        "radius": {"type": ["integer", "null"], "minimum": 1, "description": "its radius"},
        "note": {"type": "string"},
    }
    assert found["required"] == ["form"]
    assert found["allOf"][1]["then"] == {
        "required": ["radius"],
        "propertyNames": {"enum": ["form", "radius", "note"]},
    }


def test_the_configuration_page_lists_every_column_of_printed_numbers():
    rows = ["| column | what a cell holds | may be missing |", "| --- | --- | --- |"]
    rows += [
        f"| `{name}` | {column.meaning} | {'' if column.required else 'yes'} |"
        for name, column in COLUMNS.items()
    ]
    page = (ROOT / "config/README.md").read_text()
    listed = page.split("<!-- reported -->\n")[1].split("<!-- /reported -->")[0]
    assert listed == "\n".join(rows) + "\n"


def test_the_results_page_lists_every_column_of_an_outcome_file():
    page = (ROOT / "results/README.md").read_text()
    rows = re.findall(
        r"^\| `(\w+)` \| [^|]+ \| (.+) \|$", page.split("<!-- columns -->")[1], re.MULTILINE
    )
    assert rows == [(field.name, field.metadata[b"doc"].decode()) for field in SCHEMA]


def test_the_documented_folder_of_images_is_watched_and_read(tmp_path, monkeypatch):
    page = (ROOT / "docs/data.md").read_text()
    example = re.search(r"```yaml\n(# config/config\.yaml\n.+?)```", page, re.DOTALL)[1]
    files = ["healthy/a.png", "healthy/b.png", "ill/b.png"]
    monkeypatch.chdir(tmp_path)
    for number, file in enumerate(files):
        (tmp_path / "my_images" / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number).save(tmp_path / "my_images" / file)
    rows = [f"{file},person{number}" for number, file in enumerate(files)]
    (tmp_path / "my_images/patients.csv").write_text("\n".join(["file,patient", *rows]))
    plan = make_plan(read_configuration(yaml.safe_load(example)))
    folders = ["my_images", "my_images/healthy", "my_images/ill"]
    assert plan.sources("my_images") == [*folders, "my_images/patients.csv"]
    entry = plan.entry("datasets", "my_images")
    prepare("my_images", entry, tmp_path / "out", mirror=None, cache=tmp_path, seed=1)
    data = load(tmp_path / "out")
    assert data.samples["patient"].tolist() == ["0", "1", "2"]
    assert data.samples["file"].tolist() == files


@pytest.mark.parametrize("name", ["torch", "analysis"])
def test_conda_environments_pin_what_the_lock_pins(name):
    found = pins((ROOT / f"envs/{name}.yaml").read_text())
    assert found
    assert found == {package: LOCK[package] for package in found}


def test_the_lock_holds_every_direct_dependency():
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split(r"[\[<>=;]", name)[0] for name in needed} <= set(LOCK)
    assert (LOCK["torch"], LOCK["torchvision"]) == ("2.12.1", "0.27.1")


def test_analysis_environments_do_without_torch():
    assert "torch" not in pins((ROOT / "envs/analysis.yaml").read_text())


def test_no_file_names_a_machine_or_a_package_registry():
    hosts = [
        "".join(parts) for parts in (("py", "pi.org"), ("python", "hosted"), ("deb", ".debian"))
    ]
    skipped = {"results", "report"}
    tops = [
        top for top in ROOT.iterdir() if not top.name.startswith(".") and top.name not in skipped
    ]
    files = [
        path for top in [*tops, ROOT / ".ci"] for path in (top, *top.rglob("*")) if path.is_file()
    ]
    kinds = {".py", ".md", ".yaml", ".toml", ".smk", ".lock", ".cff", ""}
    texts = {path: path.read_text("utf-8") for path in files if path.suffix in kinds}
    assert len(texts) > 100
    for path, text in texts.items():
        assert not any(host in text for host in hosts), path
        assert not re.search(r"(?<![\w}./])/(work|root|home/\w+)/", text), path


def test_the_page_on_reliability_names_tests_that_there_are():
    page = (ROOT / "docs/reliability.md").read_text()
    named = re.findall(r"`(tests/[a-z_/]+\.py)(?:::(test_[a-z_0-9]+))?`", page)
    assert len(named) > 15
    for file, test in named:
        assert not test or f"def {test}(" in (ROOT / file).read_text(), (file, test)


def test_configuration_writes_radii_as_people_do_and_no_long_decimals():
    for file in (ROOT / "config").rglob("*.yaml"):
        long = re.findall(r"\d+\.\d{7,}", file.read_text("utf-8"))
        assert not long, f"{file.name}: write {long[0]} as a quotient, such as 8/255"


def test_the_page_on_architecture_names_every_module_of_its_tables_and_no_other():
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    tables = page.split("### Modules of `assay.analysis`")[1].split("### Files that come")[0]
    rows = [line for line in tables.splitlines() if line.startswith("|")]
    named = {name.rstrip("/") for row in rows for name in re.findall(r"`([a-z_]+/?)`", row)}
    package = ROOT / "workflow/assay"
    found = {path.stem for path in package.rglob("*.py")} | {
        path.name for path in package.rglob("*") if path.is_dir()
    }
    assert named - found == {"for_each", "defaults"}  # keys of a study
    for part in ("analysis", "evaluation", "plan", "report", "training"):
        files = [path for path in (package / part).iterdir() if not path.name.startswith("_")]
        modules = {path.stem for path in files if path.is_dir() or path.suffix == ".py"}
        assert len(modules) > 10
        assert not modules - named, part
