"""Documents and pins that must agree with what they speak of."""

import re
import tomllib

import pytest
import yaml

from assay.foundation.outcomes import SCHEMA
from assay.plan.configuration import ROOT


def pins(text):
    return dict(re.findall(r"^\s*(?:- )?([A-Za-z0-9_.-]+)==([^\s;]+)", text, re.MULTILINE))


LOCK = pins((ROOT / "envs/requirements.lock").read_text())


def keys_of(schema, prefix=""):
    """Every key of a schema with its description and default, nested keys behind a dot."""
    for key, part in schema["properties"].items():
        yield f"{prefix}{key}", part
        if part.get("type") == "object" and "properties" in part:
            yield from keys_of(part, f"{prefix}{key}.")


def table_of_keys():
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    rows = ["| key | what it does | default |", "| --- | --- | --- |"]
    for key, part in keys_of(schema):
        default = part.get("default")
        shown = (
            ""
            if default in (None, {})
            else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        )
        rows.append(f"| `{key}` | {part['description']} | {shown} |")
    return "\n".join(rows) + "\n"


def test_the_configuration_page_lists_every_key_with_its_default():
    page = (ROOT / "config/README.md").read_text()
    assert page.split("<!-- keys -->\n")[1].split("<!-- /keys -->")[0] == table_of_keys()


def test_the_results_page_lists_every_column_of_an_outcome_file():
    page = (ROOT / "results/README.md").read_text()
    rows = re.findall(
        r"^\| `(\w+)` \| [^|]+ \| (.+) \|$", page.split("<!-- columns -->")[1], re.MULTILINE
    )
    assert rows == [(field.name, field.metadata[b"doc"].decode()) for field in SCHEMA]


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
