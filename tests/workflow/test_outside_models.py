"""Networks of four sources, none of this package, through the checks and a study at scale smoke."""

import json
import sys
import warnings

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from assay.models.outside import network
from assay.plan.command import main

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("outside")]

SHAPE, CLASSES = (1, 32, 32), 6  # of the data set phantom at scale smoke
MODELS = ("vision", "vit", "script", "own")
CONFIG = """
scale: smoke
studies: [outside]
catalogue:
  models:
    vision:
      {title: torchvision, family: discriminative, torchvision: squeezenet1_1, input_size: 32,
       weights: {file: squeezenet.pth},
       normalisation: {mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2]},
       source: a test}
    vit:
      {title: timm, family: discriminative, timm: test_vit, settings: {in_chans: 1, img_size: 32},
       weights: {file: vit.safetensors}, source: a test}
    script: {title: TorchScript, family: discriminative, torchscript: net.pt, source: a test}
    own:
      {title: a class, family: discriminative, implementation: "my_defence:Noisy", training: none,
       settings: {deviation: 0.05}, weights: {file: own.pth}, source: a test}
"""
STUDY = """
title: Models from outside
question: Which of them keeps its accuracy under attack?
grid:
  - datasets: [phantom]
    splits: random_once
    models: [vision, vit, script, own]
    suites: [linf_whitebox]
headline:
  models: [vision, vit, script, own]
  cells: [{attack: fgsm, epsilon: 0.03}, {attack: pgd_linf, epsilon: 0.03}]
"""
DEFENCE = """
import torch
from torch import nn


class Noisy(nn.Module):
    def __init__(self, num_classes, deviation):
        super().__init__()
        self.deviation, self.layer = deviation, nn.Linear(1024, num_classes)

    def forward(self, images):
        return self.layer((images + self.deviation * torch.randn_like(images)).flatten(1))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory, copy_project):
    """A copy of the project with the entries and files of a user, after its run."""
    project = copy_project(tmp_path_factory.mktemp("outside") / "project")
    for path, text in {
        "config/config.yaml": CONFIG, "config/studies/outside.yaml": STUDY,
        "my_defence.py": DEFENCE,
    }.items():  # fmt: skip
        (project.folder / path).write_text(text, encoding="utf-8")
    torch.manual_seed(0)
    options = {"classes": CLASSES, "shape": SHAPE}
    squeezenet = network(torchvision="squeezenet1_1", input_size=32, **options).network
    torch.save(squeezenet.state_dict(), project.folder / "squeezenet.pth")
    vit = network(timm="test_vit", arguments={"in_chans": 1, "img_size": 32}, **options).network
    save_file(vit.state_dict(), project.folder / "vit.safetensors")
    state = {"layer.weight": torch.randn(CLASSES, 1024), "layer.bias": torch.zeros(CLASSES)}
    torch.save(state, project.folder / "own.pth")
    net = nn.Sequential(nn.Conv2d(1, 4, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(196, 6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(net.eval(), torch.rand(2, *SHAPE))
        torch.jit.save(traced, project.folder / "net.pt")
    project.snakemake("report/smoke/outside/headline.csv")
    return project


def test_each_source_is_evaluated_and_none_is_trained(run):
    headline = pd.read_csv(run.folder / "report/smoke/outside/headline.csv")
    assert set(headline["model"]) == set(MODELS)
    folder = run.folder / "results/smoke/models/phantom/random_once_0"
    for model in MODELS:
        facts = json.loads((folder / model / "model.json").read_text(encoding="utf-8"))
        assert facts["epochs"] == 0
        assert facts["pretrained"]


def test_the_job_of_checks_says_what_was_checked(run):
    for model in MODELS:
        path = run.folder / f"results/smoke/checked/phantom/{model}.json"
        checks = json.loads(path.read_text(encoding="utf-8"))["checks"]
        assert {check["status"] for check in checks} == {"pass", "skip"}


@pytest.mark.parametrize(
    "source",
    [["my_defence:Noisy", "--setting", "deviation=0.05"], ["--torchscript", "net.pt"], ["vit"]],
    ids=lambda source: source[0],
)
def test_the_command_agrees(run, source, monkeypatch, capsys):
    monkeypatch.chdir(run.folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    sizes = ["--shape", *map(str, SHAPE), "--classes", str(CLASSES)]
    status = main(["check", *source, *sizes])
    assert status == 0, "".join(capsys.readouterr())


def test_an_edit_of_the_module_runs_its_jobs_again_and_those_of_no_other(run):
    run.edit("my_defence.py", "import torch\n", "import torch  # only words\n")
    target = "report/smoke/outside/headline.csv"
    assert run.planned(target) == {}
    run.edit("my_defence.py", "self.deviation *", "2 * self.deviation *")
    jobs = run.planned(target)
    assert {jobs[rule] for rule in ("check_entries", "train_model", "run_suite")} == {1}
