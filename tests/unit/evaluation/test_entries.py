"""The job that checks entries of models from outside: what stops a run, and what is only noted."""

import json
import runpy
from types import SimpleNamespace

import pytest
import torch

from assay.evaluation.conformance import CHECKS
from assay.evaluation.entries import check_entry
from assay.foundation.errors import ModelError
from assay.foundation.resources import ROOT
from assay.plan.outside import as_built

SIZES = {"classes": 3, "shape": (1, 6, 6)}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "entry_nets.py").write_text(
        "from torch import nn\n"
        "class Linear(nn.Sequential):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(36, classes))\n"
        "class Cut(Linear):\n"
        "    def forward(self, images):\n"
        "        return super().forward(images.detach())\n"
        "class Fixed(Linear):\n"
        "    def __init__(self):\n"
        "        super().__init__(2)\n",
        encoding="utf-8",
    )
    return tmp_path


def entry(name, **keys):
    written = {"implementation": f"entry_nets:{name}", "settings": {}, "weights": None, **keys}
    return as_built(written)


def complaint(name, **keys):
    with pytest.raises(ModelError) as found:
        check_entry("mine", entry(name, **{"trained": False, **keys}), **SIZES)
    return str(found.value)


def test_a_sound_entry_passes_each_check_that_applies():
    results = check_entry("mine", entry("Linear", trained=False), **SIZES)
    assert [result.check for result in results if result.status == "fail"] == []


def test_an_entry_that_no_evaluation_can_use_stops_the_run_with_model_and_remedy():
    assert complaint("Fixed").startswith("model 'mine': not so: logits are finite")
    assert "6 images give (6, 2), not (6, 3)" in complaint("Fixed")
    assert "no_gradient: WHY" in complaint("Cut")
    assert "has no weights that assay can train" in complaint("Linear", trained=True)
    torch.save({"1.weight": torch.zeros(3, 36)}, "half.pth")
    weights = {"format": "state_dict", "file": "half.pth"}
    assert "lacks '1.bias'" in complaint("Linear", weights=weights)


def test_a_declared_lack_of_gradients_is_only_noted():
    results = check_entry("mine", entry("Cut", trained=False, no_gradient="rounds"), **SIZES)
    assert any(result.status == "fail" for result in results)


def test_the_job_writes_a_result_for_each_check(folder):
    facts = {"name": "toy", "classes": ["a", "b", "c"], "shape": [1, 6, 6]}
    (folder / "dataset.json").write_text(json.dumps(facts), encoding="utf-8")
    job = SimpleNamespace(
        input=SimpleNamespace(dataset="dataset.json"),
        wildcards=SimpleNamespace(dataset="toy", model="mine"),
        output=["checked.json"],
        params=SimpleNamespace(entry=entry("Linear", trained=False)),
        log=["check.log"],
        config={},
        threads=1,
    )
    script = ROOT / "workflow/scripts/check_entries.py"
    runpy.run_path(str(script), init_globals={"snakemake": job}, run_name="__main__")
    written = json.loads((folder / "checked.json").read_text(encoding="utf-8"))["checks"]
    assert len(written) == len(CHECKS)
    assert "fail" not in {check["status"] for check in written}
