"""Digests of code see lines that count and nothing else."""

import shutil

import pytest

from assay.foundation import digest
from assay.foundation.errors import AssayError
from assay.foundation.resources import ROOT


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of the real package for all tests; each restores what it has edited."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(
        digest.ROOT / "assay", folder / "assay", ignore=shutil.ignore_patterns("__pycache__")
    )
    return folder


@pytest.fixture
def package(copied, monkeypatch):
    """A copy of the real package that a test may edit."""
    monkeypatch.setattr(digest, "ROOT", copied)
    digest.forget()
    yield copied / "assay"
    for file, text in originals.items():
        file.write_text(text)
    originals.clear()
    digest.forget()


originals = {}


def edited(file, old, new):
    text = file.read_text()
    assert old in text
    originals.setdefault(file, text)
    file.write_text(text.replace(old, new, 1))
    digest.forget()


def test_comments_docstrings_and_layout_do_not_change_a_digest(package):
    before = digest.code_digest("assay.foundation.outcomes")
    edited(package / "foundation/seeds.py", "import hashlib", "# why not\n\nimport hashlib")
    edited(package / "foundation/files.py", '"""Files that are', '"""Some files that are')
    edited(package / "foundation/files.py", '"""Writes `text` (UTF-8)', '"""Puts `text` (UTF-8)')
    assert digest.code_digest("assay.foundation.outcomes") == before


def test_the_words_of_an_error_do_not_change_a_digest_and_its_condition_does(package):
    before = digest.code_digest("assay.foundation.outcomes")
    file = package / "foundation/outcomes.py"
    edited(file, 'f"unknown norms {', 'f"there are no norms {')
    edited(file, "finished chunks are kept", "finished chunks stay")
    assert digest.code_digest("assay.foundation.outcomes") == before
    edited(file, "raise OutcomeError(str(error)", "raise ValueError(str(error)")
    assert digest.code_digest("assay.foundation.outcomes") != before


def test_the_words_of_a_log_do_not_change_a_digest(package, tmp_path):
    def of(line):
        script = tmp_path / "script.py"
        script.write_text(f"import logging\n\nlog = logging.getLogger()\n{line}\n")
        digest.forget()
        return digest.code_digest(script)

    assert of("log.info('5 images')") == of("log.info('five images')")
    assert of("log.info('%d', 5)") != of("log.info('%d', 6)")
    assert of("print('5 images')") != of("print('five images')")


def test_a_changed_line_in_an_imported_module_changes_the_digest_of_what_imports_it(package):
    suite = digest.code_digest("assay.evaluation.suite")
    registry = digest.code_digest("assay.foundation.registry")
    edited(package / "foundation/files.py", "digest_size=8", "digest_size=9")
    assert digest.code_digest("assay.evaluation.suite") != suite
    assert digest.code_digest("assay.foundation.registry") == registry


def test_imports_inside_functions_count(package, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "def main():\n    from assay.foundation.seeds import seed_for\n    seed_for(1)\n"
    )
    before = digest.code_digest(script)
    edited(package / "foundation/seeds.py", "digest_size=8", "digest_size=7")
    assert digest.code_digest(script) != before


SCRIPTS = ROOT / "workflow/scripts"


TRAINED = {
    "standard": "assay.models.resnet:ResNet18",
    "elbo": "assay.models.gbz:GBZ",
    "madry": "assay.models.resnet:ResNet18",
    "trades": "assay.models.resnet:ResNet18",
}


def of_rules():
    """The digests that rules carry: of data, training, attacks, by what they run."""
    return {
        "data": digest.code_digest(SCRIPTS / "prepare_dataset.py"),
        **{
            name: digest.code_digest(
                SCRIPTS / "train_model.py", model, f"assay.training.objectives.{name}"
            )
            for name, model in TRAINED.items()
        },
        "suite": digest.code_digest(SCRIPTS / "run_suite.py", "assay.attacks.pgd:PGD"),
    }


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("attacks/queries.py", "amount = by.long()", "amount = 2 * by.long()", {"suite"}),
        ("attacks/attack.py", "_ATTEMPTS = 0.25, 8", "_ATTEMPTS = 0.25, 9", {"suite"}),
        ("attacks/pgd.py", "restarts: int = 1", "restarts: int = 2", {"suite"}),
        ("threat/ball.py", "clamp_min(1e-30)", "clamp_min(1e-29)", {"madry", "trades", "suite"}),
        ("training/adversary.py", "steps: int = 10", "steps: int = 11", {"madry", "trades"}),
        ("training/objectives/trades.py", "NOISE = 0.001", "NOISE = 0.002", {"trades"}),
        ("training/objectives/elbo.py", "loss_is_a_sum = True", "loss_is_a_sum = 1", {"elbo"}),
        ("training/optimisation.py", "FUSED = (", "FUSED = (0, ", {*TRAINED}),
        ("models/gbz.py", "import torch\n", "import torch\n\nUNUSED = 1\n", {"elbo"}),
        ("foundation/progress.py", "mininterval=0.2", "mininterval=0.3", set()),
        ("foundation/scripts.py", "import logging\n", "import logging\n\nUNUSED = 1\n", set()),
        ("foundation/provenance.py", "\nimport ", "\nimport abc\nimport ", set()),
    ],
)
def test_an_edit_changes_the_digests_of_what_it_can_change(package, file, old, new, changed):
    digest.forget()
    before = of_rules()
    edited(package / file, old, new)
    after = of_rules()
    assert {name for name in before if before[name] != after[name]} == changed


def test_code_that_is_not_there_is_named():
    with pytest.raises(AssayError, match=r"assay\.nothing"):
        digest.code_digest("assay.nothing")
