"""Runs that several files of tests read. No test changes them, so each is made once."""

import pytest
import report_factory


@pytest.fixture(scope="session")
def middle_run(tmp_path_factory):
    """All models on two splits of 60 images."""
    return report_factory.make_inputs(tmp_path_factory.mktemp("middle"), folds=2, per_fold=60)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """A discriminative and a generative model on two splits of 12 images."""
    models = ("resnet18_text", "gbz_as_coded")
    folder = tmp_path_factory.mktemp("small")
    return report_factory.make_inputs(folder, models=models, folds=2, per_fold=12)
