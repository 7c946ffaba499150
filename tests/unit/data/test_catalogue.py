"""The catalogue says the same as the packages it quotes."""

import re
from pathlib import Path

import numpy as np
import pytest
import torchvision
from data_factory import catalogue
from medmnist import INFO
from sklearn.linear_model import RidgeClassifier

from assay.data.dataset import load as load_folder
from assay.data.kinds import KINDS, reader_of
from assay.data.prepare import prepare
from assay.foundation.registry import load as load_object

ENTRIES = catalogue()
FLAGS = [flag for flag in INFO if not flag.endswith("3d")]


def test_every_two_dimensional_set_of_medmnist_is_there():
    assert len(FLAGS) == 12
    assert {f"medmnist_{flag}" for flag in FLAGS} == {
        name for name in ENTRIES if name.startswith("medmnist_")
    }


@pytest.mark.parametrize("flag", FLAGS)
def test_medmnist_entries_agree_with_the_package(flag):
    entry, info = ENTRIES[f"medmnist_{flag}"], INFO[flag]
    published = entry["files"][0]["copies"][0]
    assert published["digest"] == f"md5:{info['MD5']}"
    assert published["urls"] == [info["url"]]
    assert entry["shape"] == [info["n_channels"], 28, 28]
    assert entry["licence"] == info["license"]
    several = info["task"].startswith("multi-label")
    assert entry["settings"]["labels"] == ("multiple" if several else "single")
    assert len(entry["classes"]) == len(info["label"]) + several


@pytest.mark.parametrize(("name", "flag"), [("dermoscopy", "dermamnist"), ("oct", "octmnist")])
def test_larger_entries_agree_with_the_package(name, flag):
    entry, info = ENTRIES[name], INFO[flag]
    (published,) = entry["files"][0]["copies"]
    assert published["digest"] == f"md5:{info['MD5_224']}"
    assert published["urls"] == [info["url_224"]]
    assert entry["shape"] == [info["n_channels"], 224, 224]
    assert entry["licence"] == info["license"]


def test_dermoscopy_tells_melanoma_from_the_rest():
    number = ENTRIES["dermoscopy"]["settings"]["against"]
    assert INFO["dermamnist"]["label"][str(number)] == "melanoma"
    assert ENTRIES["dermoscopy"]["classes"][1] == "melanoma"


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_torchvision_entries_agree_with_the_package(name):
    entry = ENTRIES[name]
    known = getattr(torchvision.datasets, entry["settings"]["dataset"])
    digests = {f["path"].split("/")[1]: f["copies"][0]["digest"] for f in entry["files"]}
    assert digests == {file: f"md5:{md5}" for file, md5 in known.resources}
    for file in entry["files"]:
        (url,) = file["copies"][0]["urls"]
        assert url in {mirror + file["path"].split("/")[1] for mirror in known.mirrors}


def test_traffic_signs_agree_with_torchvision():
    code = Path(torchvision.datasets.gtsrb.__file__).read_text(encoding="utf-8")
    (published,) = ENTRIES["gtsrb_10"]["files"][0]["copies"]
    folder, _, file = published["urls"][0].rpartition("/")
    assert f'"{folder}/"' in code
    assert f"{{base_url}}{file}" in code
    assert f'md5="{published["digest"].removeprefix("md5:")}"' in code


def test_house_numbers_agree_with_torchvision():
    known = torchvision.datasets.SVHN.split_list
    published = {
        file["path"].split("/")[1]: (file["copies"][0]["urls"][0], file["copies"][0]["digest"])
        for file in ENTRIES["svhn"]["files"]
    }
    for subset, arguments in ENTRIES["svhn"]["settings"]["subsets"].items():
        url, file, md5 = known[arguments["split"]]
        assert arguments["split"] == subset
        assert published[file] == (url, f"md5:{md5}")


def test_cifar_10_agrees_with_torchvision():
    (file,), known = ENTRIES["cifar10"]["files"], torchvision.datasets.CIFAR10
    (published,) = file["copies"]
    assert file["path"] == known.filename
    assert published["urls"] == [known.url]
    assert published["digest"] == f"md5:{known.tgz_md5}"


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_is_complete(name):
    entry = ENTRIES[name]
    assert entry.keys() - {"substitute_for", "threats"} == {
        "title", "kind", "classes", "shape", "files", "patient", "licence", "source", "citation",
        "settings",
    }  # fmt: skip
    assert callable(load_object(reader_of(entry["kind"], name)))
    assert entry["patient"]["reason"]
    for file in entry["files"]:
        for copy in file["copies"]:
            assert re.fullmatch(r"md5:[0-9a-f]{32}|(sha256|content):[0-9a-f]{64}", copy["digest"])


def test_every_kind_has_an_entry():
    assert {entry["kind"] for entry in ENTRIES.values()} == set(KINDS)


def test_the_lesions_of_the_phantom_tell_its_classes_apart_and_nothing_else_does(tmp_path):
    """A linear model on coarse pixels, the patients of the test part unseen."""
    score = {}
    for separation in (0.0, 1.0):
        entry = ENTRIES["phantom"]
        entry = {**entry, "settings": {**entry["settings"], "separation": separation}}
        target = tmp_path / str(separation)
        prepare("phantom", entry, target, mirror=None, cache=tmp_path / "cache", seed=0)
        data = load_folder(target)
        coarse = np.asarray(data.images, float).reshape(-1, 16, 4, 16, 4).mean((2, 4))
        features = coarse.reshape(len(data), -1) / 255
        test = (data.samples["official"] == "test").to_numpy()
        model = RidgeClassifier(alpha=1.0).fit(features[~test], data.labels[~test])
        score[separation] = model.score(features[test], data.labels[test])
    assert score[1.0] > 0.85
    assert score[0.0] < 0.35
