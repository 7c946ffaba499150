"""Entries of models from outside: one way to build them, and mistakes named before a run."""

import sys
import textwrap
from functools import partial

import pytest
import torch

from assay.foundation.digest import code_digest, forget
from assay.foundation.errors import ConfigError
from assay.foundation.sources import Source, place
from assay.plan.outside import (
    NETWORK,
    as_built,
    check_outside,
    check_sources,
    contents,
    untrained_source,
)

COMPLETE = {"weights": None, "settings": {}}
where = partial(place, [Source("models.yaml", ("mine",), {})])


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name, text):
    from pathlib import Path

    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")


def entry(**keys):
    keys = {**COMPLETE, **keys}
    if weights := keys["weights"]:
        keys["weights"] = {"format": "state_dict", **weights}
    return as_built(keys)


def complaint(**keys):
    with pytest.raises(ConfigError) as found:
        check_outside(entry(**keys), where)
    return str(found.value)


NET = """
    from torch import nn
    class Net(nn.Module):
        def __init__(self, classes, width=3):
            super().__init__()
"""


def test_an_entry_names_one_source_and_no_keys_that_its_class_ignores():
    for keys, message in (
        ({}, "'implementation' is missing; write one of implementation, torchscript"),
        ({"torchscript": "a", "timm": "b"}, "torchscript and timm are given"),
        ({"implementation": "assay.models.cnn:CNN", "input_size": 3}, "prepare their images"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_sources({**COMPLETE, **keys}, where)
    check_sources({**COMPLETE, "implementation": "mine:Net", "input_size": 3}, where)


def test_entries_from_outside_are_built_by_one_function_and_others_stay():
    own = {**COMPLETE, "implementation": "assay.models.cnn:CNN"}
    assert as_built(own) is own
    found = entry(implementation="mine:Net", settings={"width": 2}, input_size=32)
    assert found["implementation"] == NETWORK
    assert found["settings"] == {
        "implementation": "mine:Net", "arguments": {"width": 2}, "input_size": 32,
    }  # fmt: skip
    assert "trained" not in found
    assert entry(implementation="mine:Net", weights={"file": "w"})["trained"] is False
    assert entry(exported="net.pt2")["trained"] is False


def test_training_none_is_said_of_the_entry_and_found_again_in_errors():
    source = untrained_source(Source("config.yaml", ("mine",), {"training": "none", "title": "M"}))
    assert source.tree == {"title": "M", "trained": False}
    assert source.at("trained") == "config.yaml: mine.training"


def test_a_missing_file_is_named_with_the_nearest_one():
    write("models/mine.pt", "")
    assert complaint(torchscript="models/mime.pt") == (
        "models.yaml: mine.torchscript: there is no file 'models/mime.pt'; "
        "did you mean 'models/mine.pt'?"
    )
    assert "relative to the working folder" in complaint(exported="nowhere/x")
    assert "no file '~nobody_here/x'" in complaint(exported="~nobody_here/x")
    assert "no file 'w.pth'" in complaint(torchvision="resnet18", weights={"file": "w.pth"})


def test_networks_of_libraries_need_weights_and_files_of_networks_have_them():
    write("w.pth", "")
    assert "'resnet18' has no weights" in complaint(torchvision="resnet18")
    weights = {"file": "w.pth"}
    assert "holds its weights" in complaint(torchscript="w.pth", weights=weights)
    check_outside(entry(torchvision="resnet18", weights=weights), where)
    check_outside(entry(torchscript="w.pth"), where)
    assert "state_dict needs a file" in complaint(timm="resnet18", weights={"folder": "w"})


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_an_unknown_network_is_named_with_the_nearest_one_without_importing_the_library(library):
    write("w.pth", "")
    message = complaint(**{library: "resnet_18"}, weights={"file": "w.pth"})
    assert f"{library} has no network 'resnet_18'; did you mean 'resnet" in message


def test_without_timm_the_plan_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert complaint(timm="resnet18").endswith("timm is not installed; pip install timm")


def test_modules_names_and_settings_are_read_from_the_source_without_running_it():
    write("my_defence.py", "1 / 0\n" + textwrap.dedent(NET))
    assert "no module 'my_defense'; did you mean 'my_defence'" in complaint(
        implementation="my_defense:Net"
    )
    assert "has no 'Nett'; did you mean 'Net'" in complaint(implementation="my_defence:Nett")
    assert "setting of Net 'widht'; did you mean 'width'" in complaint(
        implementation="my_defence:Net", settings={"widht": 1}, trained=False
    )
    assert "my_defence" not in sys.modules


def test_only_a_classifier_is_trained():
    write("my_defence.py", NET)
    assert "Net is no Classifier" in complaint(implementation="my_defence:Net")
    check_outside(entry(implementation="my_defence:Net", trained=False), where)
    write(
        "my_own/base.py",
        """
        from assay.models.base import Classifier
        class Base(Classifier):
            pass
    """,
    )
    write("my_own/__init__.py", "")
    write(
        "my_own/net.py",
        """
        from .base import Base
        class Net(Base):
            def __init__(self, *, classes, shape):
                super().__init__(classes=classes, shape=shape)
    """,
    )
    check_outside(entry(implementation="my_own.net:Net"), where)
    assert "'width'" in complaint(implementation="my_own.net:Net", settings={"width": 2})


def test_what_a_module_makes_while_it_is_imported_is_left_to_the_job():
    write("made.py", "from torchvision.models import resnet18\nnet = resnet18()\n")
    for name in ("resnet18", "net"):
        check_outside(entry(implementation=f"made:{name}", trained=False), where)


def test_the_digest_covers_the_package_and_its_neighbours_but_no_comment_and_no_library():
    write("pack/__init__.py", "")
    write("pack/net.py", "import torch\nfrom . import part\nimport neighbour\nclass Net: pass\n")
    write("pack/part.py", "x = 1\n")
    write("neighbour.py", "x = 1\n")
    write("stranger.py", "x = 1\n")

    def digest():
        forget()
        return code_digest("pack.net:Net")

    first = digest()
    for name in ("pack/part.py", "pack/__init__.py", "neighbour.py"):
        write(name, "x = 2\n")
        assert digest() != first, name
        first = digest()
    write("stranger.py", "x = 2\n")
    write("pack/part.py", "x = 2  # as before\n")
    assert digest() == first


def test_contents_follow_files_and_code_and_miss_what_is_not_there(folder):
    write("my_net.py", NET)
    torch.save({}, "w.pth")
    keys = {"implementation": "my_net:Net", "weights": {"file": "w.pth"}}
    first = contents(entry(**keys))
    assert set(first) == {"my_net:Net", "w.pth"}
    torch.save({"x": torch.zeros(1)}, "w.pth")
    assert contents(entry(**keys))["w.pth"] != first["w.pth"]
    for file in ("nowhere", "~nobody_here/x"):
        assert contents(entry(torchscript=file)) == {file: None}
    assert contents({**COMPLETE, "implementation": "assay.models.cnn:CNN"}) == {}
