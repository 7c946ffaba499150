"""Kept adversarial images are those that were evaluated, to the last bit."""

import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pandas as pd
import pytest
import suites
import torch
from suites import CLEAN, SHAPE, images_and_labels, run_on
from torch import nn

from assay.attacks.victim import Victim
from assay.evaluation import chunks
from assay.evaluation.adversarials import read_adversarials, repredict, write_adversarials
from assay.evaluation.shares import pack_share, unpack_share
from assay.foundation.errors import OutcomeError
from assay.foundation.provenance import read_provenance

PGD = {**suites.PGD, "epsilons": [0.02, 0.1]}
ROW = ["attack", "route", "epsilon", "sample"]


def victim(seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
    views = {"own": net, "again": nn.Sequential(net).eval()}
    return Victim(logits=net, classes=3, shape=SHAPE, device="cpu", views=views)


IMAGES, LABELS = images_and_labels(victim(), 40, wrong=5)


@pytest.fixture
def run(tmp_path):
    def run(attacks=(CLEAN, PGD), keep="all", name="kept.npz", attacked=None, **options):
        settings = {"work": tmp_path / "work/u", "repeats": 3, **options}
        outcomes, _ = run_on(
            attacked or victim(), (IMAGES, LABELS), attacks, keep_adversarials=keep, **settings
        )
        path = tmp_path / name
        write_adversarials(outcomes.attrs["adversarials"], path, {"seed": 0})
        return outcomes, path

    return run


def joined(outcomes, path, other=None):
    again = repredict(other or victim(), path)
    columns = [*ROW, "prediction", "misclassified", "view", "linf"]
    rows = outcomes[columns].rename(columns={"prediction": "row", "misclassified": "was"})
    return again.merge(rows, on=ROW, how="left", validate="one_to_one")


def test_every_row_is_predicted_again_as_it_was(run):
    outcomes, path = run()
    again = joined(outcomes, path)
    assert len(again) == len(outcomes) == 40 * 3
    assert (again.prediction == again.row).all()
    assert (again.stored == again.row).all()
    assert (again.misclassified == again.was).all()
    assert 0 < again.was.mean() < 1


def test_an_image_is_at_the_distance_of_its_row(run):
    outcomes, path = run()
    rows = outcomes.set_index(ROW[:1] + ROW[2:])["linf"]
    for attack, _, arrays in read_adversarials(path):
        assert arrays["images"].dtype == np.float32
        change = np.abs(
            arrays["images"] - (IMAGES.astype(np.float32) / 255)[arrays["samples"]]
        ).max(axis=(1, 2, 3))
        keys = zip([attack] * len(change), arrays["epsilons"], arrays["samples"], strict=True)
        np.testing.assert_array_equal(change, [rows[key] for key in keys])


def test_only_images_that_an_attack_changed_and_won_are_kept(run):
    outcomes, path = run(keep="misclassified")
    again = joined(outcomes, path)
    won = outcomes.misclassified & (outcomes["view"] != "")
    assert len(again) == won.sum()
    assert 0 < len(again) < len(outcomes)
    assert again.misclassified.all()
    assert (again.label != again.prediction).all()


def test_each_route_keeps_its_own_images(run):
    outcomes, path = run([{**PGD, "routes": "each"}])
    again = joined(outcomes, path)
    assert set(again.route) == {"", "own", "again"}
    assert (again.prediction == again.row).all()


def test_the_name_of_a_view_is_kept_whole_however_long_it_is(run):
    name = "through_the_network_behind_the_purifier_" * 3
    net = victim().decision
    long = Victim(logits=net.logits, classes=3, shape=SHAPE, device="cpu", views={name: net})
    _, path = run([{**PGD, "routes": "each"}], attacked=long)
    assert set(repredict(victim(), path).route) == {"", name}


def test_nothing_is_kept_unless_it_is_asked_for(run):
    outcomes, path = run(keep="none")
    assert repredict(victim(), path).empty
    assert read_provenance(path) == {"seed": 0}
    assert path.stat().st_size < 1000
    kept, _ = run(keep="all", work=path.parent / "other/u")
    pd.testing.assert_frame_equal(kept, outcomes)


def test_another_model_is_asked_about_the_same_images(run):
    outcomes, path = run(keep="misclassified")
    transfer = joined(outcomes, path, victim(seed=1))
    assert not (transfer.prediction == transfer.row).all()
    assert (transfer.stored == transfer.row).all()


def test_a_fresh_process_predicts_what_is_stored(run, tmp_path):
    _, path = run()
    script = """
        import sys
        sys.path.insert(0, sys.argv[2])
        from test_adversarials import repredict, victim
        again = repredict(victim(), sys.argv[1])
        assert len(again) == 120
        sys.exit(int((again.prediction != again.stored).sum()))
    """
    folder = str(__file__).rpartition("/")[0]
    command = [sys.executable, "-c", textwrap.dedent(script), str(path), folder]
    subprocess.run(command, check=True)


def test_a_job_that_was_broken_off_ends_with_the_same_bytes(run, tmp_path, monkeypatch):
    _, whole = run(name="whole.npz", work=tmp_path / "whole/u")
    write, written = chunks.write_chunk, []

    def interrupted(arrays, path):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write(arrays, path)

    monkeypatch.setattr(chunks, "write_chunk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.setattr(chunks, "write_chunk", write)
    written[0].write_bytes(written[0].read_bytes()[:100])
    _, path = run()
    assert path.read_bytes() == whole.read_bytes()


def test_shares_bring_their_images_along(run, tmp_path):
    _, whole = run(name="whole.npz", work=tmp_path / "whole/u")
    for number in range(2):
        elsewhere = tmp_path / f"elsewhere/{number}/u"
        run(share=(number, 2), work=elsewhere, name=f"{number}.npz")
        pack_share(elsewhere, tmp_path / f"share_{number}", seconds=1)
        unpack_share(tmp_path / f"share_{number}", tmp_path / "work/u")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "work/u").rglob("*.npz")}
    _, path = run()
    assert path.read_bytes() == whole.read_bytes()
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "work/u").rglob("*.npz")}


def test_a_damaged_file_is_named_with_the_remedy(run):
    _, path = run()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(OutcomeError, match=r"kept\.npz: cannot be read.*delete the file"):
        repredict(victim(), path)
