"""The real archives, where a mirror of them is at hand (ASSAY_DATA)."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from data_factory import ROOT, catalogue

from assay.data.dataset import load
from assay.data.prepare import prepare
from assay.data.splits import leakage, make_split

SCHEMES = catalogue("splits")
WORKFLOW = ROOT / "workflow"


MEASURE = """
import json, resource, sys
from pathlib import Path
from assay.data.prepare import prepare
entry, target, mirror = json.loads(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
prepare("medical_mnist", entry, target, mirror=mirror, cache=target.parent / "cache", seed=0)
json.dump(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, sys.stdout)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("real")


@pytest.fixture(scope="module")
def peak(mirror, root):
    """Peak KiB of preparing Medical MNIST.

    In a process of its own, since peak memory counts everything a process ever did.
    """
    arguments = [json.dumps(catalogue()["medical_mnist"]), str(root / "medical_mnist"), str(mirror)]
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONPATH": str(WORKFLOW)},
    )
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def prepared(mirror, root):
    def make(name):
        if not (root / name).exists():
            prepare(name, catalogue()[name], root / name, mirror=mirror, cache=root / "c", seed=0)
        return load(root / name)

    return make


def shared(data, scheme, measure, subsets="train-test"):
    leaks = leakage(data.samples, make_split(data.samples, SCHEMES[scheme], 0, seed=0))
    rows = leaks[(leaks["measure"] == measure) & (leaks["subsets"] == subsets)]
    return rows.loc[rows["class"] == "all", "images"].item()


def test_medical_mnist_is_decoded_within_2_gib(peak):
    assert peak < 2 * 2**20


def test_the_duplicates_of_medical_mnist_are_found(peak, prepared):
    data = prepared("medical_mnist")
    counts = data.metadata["counts"]
    assert data.images.shape == (58_954, 1, 64, 64)
    assert counts["classes"]["BreastMRI"] == 8_954
    assert counts["identical_files"] == {"groups": 348, "images": 788}
    assert counts["identical_pixels"] == {"groups": 348, "images": 788}
    blank = data.samples["duplicate"].value_counts()
    assert (blank.iloc[0], (data.images[blank.index[0]] == 25).all()) == (94, True)
    assert shared(data, "kfold", "duplicates") == 0
    assert shared(data, "random_image", "duplicates") > 40


def test_chest_x_rays_know_their_patients(prepared):
    data = prepared("chest_xray")
    assert data.metadata["counts"]["official"] == {"train": 5_216, "test": 624}
    assert data.metadata["counts"]["identical_files"]["groups"] == 30
    assert data.samples["patient"].notna().all()
    assert shared(data, "official", "patients") == 0
    assert shared(data, "random", "patients") > 100
    assert shared(data, "random_patient", "patients") == 0
    # Person 12 with a virus and person 12 with bacteria: one person or two, nobody says.
    assert shared(data, "random_patient", "patients_safe") > 100
    assert shared(data, "random_150_person", "patients_safe") == 0


@pytest.mark.parametrize(
    ("name", "shape", "test"),
    [
        ("mnist", (70_000, 1, 28, 28), 10_000),
        ("fashion_mnist", (70_000, 1, 28, 28), 10_000),
        ("medmnist_pneumoniamnist", (5_856, 1, 28, 28), 624),
        ("gtsrb_subset", (1_200, 3, 32, 32), 200),
        ("cifar10_subset", (6_017, 3, 32, 32), 1_017),
    ],
)
def test_the_other_archives_have_their_sizes_and_parts(prepared, name, shape, test):
    data = prepared(name)
    assert data.images.shape == shape
    assert data.metadata["counts"]["official"]["test"] == test
    assert 5 < np.asarray(data.images[:100]).std() < 128


def test_the_copy_of_pneumoniamnist_that_is_not_the_publishers_is_recorded(prepared):
    (read,) = prepared("medmnist_pneumoniamnist").metadata["read"]
    assert "another order" in read["copy"]
