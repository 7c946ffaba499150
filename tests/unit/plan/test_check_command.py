"""`assay check` on models that the command line names."""

import pytest

from assay.plan.command import main

SIZES = ["--shape", "1", "6", "6", "--classes", "3"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checked_nets.py").write_text(
        "from torch import nn\n"
        "class Linear(nn.Sequential):\n"
        "    def __init__(self, classes, width=4):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(36, width), nn.Linear(width, classes))\n"
        "class Cut(Linear):\n"
        "    def forward(self, images):\n"
        "        return super().forward(images.detach())\n",
        encoding="utf-8",
    )


def test_a_sound_model_passes_with_a_line_for_each_check(capsys):
    assert main(["check", "checked_nets:Linear", "--setting", "width=5", *SIZES]) == 0
    *lines, _, summary = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} == {"pass", "skip"}
    assert summary.startswith("checked_nets:Linear: ")
    assert summary.endswith(" 0 failed")


def test_a_model_without_a_gradient_fails_with_the_remedy(capsys):
    assert main(["check", "checked_nets:Cut", *SIZES]) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("fail")]
    assert "a gradient of some view reaches some image" in failed[0]
    assert "bpda" in failed[0]


def test_a_class_of_this_package_is_checked_as_one_that_is_trained(capsys):
    sizes = ["--shape", "1", "8", "8", "--classes", "3"]
    assert main(["check", "assay.models.dbx:DBX", "--setting", "latent_dim=4", *sizes]) == 0
    assert "pass  training losses come per image" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["cnn_masked", "small_cnn"])
def test_an_entry_on_another_one_and_one_that_starts_at_zero_pass_before_any_training(name, capsys):
    assert main(["check", name, "--shape", "1", "28", "28", "--classes", "3"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(" 0 failed")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["checked_nets:Linaer"], "implementation: module 'checked_nets' has no 'Linaer'; did you"),
        (
            ["checked_nets:Linear", "--setting", "widht=5"],
            "setting of Linear 'widht'; did you mean",
        ),
        (["checked_nets:Linear", "--setting", "width"], "'width' is no setting; write KEY=VALUE"),
        (["--torchscript", "nowhere.pt"], "torchscript: there is no file 'nowhere.pt'"),
        (["resnet_18"], "there is no model 'resnet_18'; did you mean 'resnet18'"),
        ([], "command line: the key 'implementation' is missing"),
        (
            ["resnet18", "--setting", "input_size=32"],
            "--setting: 'resnet18' is an entry of the catalogue, which has settings of its",
        ),
        (
            ["resnet18", "--input-size", "32"],
            "--input-size: 'resnet18' is an entry of the catalogue",
        ),
        (["resnet18", "--timm", "resnet18"], "--timm: 'resnet18' is an entry of the catalogue"),
    ],
)
def test_a_mistake_is_one_line_without_a_traceback(arguments, message, capsys):
    assert main(["check", *arguments, *SIZES]) == 1
    assert message in capsys.readouterr().err


def test_a_file_that_an_entry_names_and_that_is_not_there_is_told_with_its_key(tmp_path, capsys):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text(
        "catalogue: {models: {mine: {title: mine, family: discriminative, source: mine, "
        "torchscript: nowhere.pt}}}"
    )
    assert main(["check", "mine", *SIZES]) == 1
    message = "config/config.yaml: catalogue.models.mine.torchscript: there is no file 'nowhere.pt'"
    assert message in capsys.readouterr().err
