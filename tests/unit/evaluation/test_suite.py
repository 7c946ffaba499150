"""A suite's job: rows in the schema, chunks that survive, memory that runs out."""

import errno

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from suites import CLEAN, FGSM, PGD, SHAPE, entry, images_and_labels, run_on
from torch import nn

from assay.attacks.victim import Victim
from assay.evaluation import chunks
from assay.evaluation.samples import in_turn
from assay.foundation.errors import AssayError, AttackError
from assay.foundation.outcomes import to_table

OTHER = {"dataset": "toy", "split": "kfold_0", "model": "net", "suite": "other"}
ENSEMBLE = entry(
    "autoattack", "autoattack:AutoAttack", [0.005, 0.01], steps=4, queries=8, targets=2
)


class Net(nn.Sequential):
    def __init__(self):
        torch.manual_seed(0)
        super().__init__(nn.Flatten(), nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, 3))


def net_victim(**options):
    return Victim.from_module(Net().eval(), classes=3, shape=SHAPE, **options)


@pytest.fixture(scope="module")
def data():
    return images_and_labels(net_victim(), 80, wrong=6)


@pytest.fixture
def run(data, tmp_path):
    def run(attacks, victim=None, **options):
        run.victim = victim or net_victim()
        settings = {"work": tmp_path / "work", "indices": np.arange(0, 80, 2), **options}
        return run_on(run.victim, data, attacks, **settings)

    run.work = tmp_path / "work"
    return run


def test_rows_follow_the_schema_one_per_sample_attack_and_epsilon(run, data):
    outcomes, _ = run([CLEAN, FGSM, PGD])
    to_table(outcomes)
    assert len(outcomes) == 40 * (1 + 2 + 2)
    assert (
        outcomes.groupby(["attack", "epsilon"])["sample"]
        .apply(list)
        .map(lambda samples: samples == list(range(0, 80, 2)))
        .all()
    )
    assert (outcomes["label"] == data[1][outcomes["sample"]]).all()
    assert (outcomes["misclassified"] == (outcomes["prediction"] != outcomes["label"])).all()
    scores = np.stack(outcomes["scores"])
    np.testing.assert_allclose(scores.sum(1), 1, atol=1e-5)
    assert (scores.argmax(1) == outcomes["prediction"]).all()


def test_rows_say_what_a_fresh_look_at_the_images_says(run, data):
    _, examples = run([CLEAN, PGD])
    images = torch.from_numpy(examples["pgd_linf/images"]).float()
    with torch.no_grad():
        decided = torch.stack([Net()(part).argmax(1) for part in images])
    # Half precision moves an example by less than 0.001.
    assert (decided.numpy() == examples["pgd_linf/predictions"]).mean() > 0.85


def test_examples_are_the_same_images_for_every_attack(run, data):
    capped = {**PGD, "samples": 10}
    outcomes, examples = run([CLEAN, FGSM, capped])
    samples = examples["samples"]
    assert len(samples) == 4
    assert (examples["labels"] == data[1][samples]).all()
    np.testing.assert_allclose(examples["clean/images"], data[0][samples] / 255, atol=1e-3)
    assert examples["clean/predictions"].shape == (1, 4)
    for name, budgets in (("fgsm", 2), ("pgd_linf", 2)):
        assert examples[f"{name}/images"].shape == (budgets, 4, *SHAPE)
        assert examples[f"{name}/images"].dtype == np.float16
        assert np.isfinite(examples[f"{name}/images"]).all()
        rows = outcomes[outcomes["attack"] == name]
        for e, epsilon in enumerate(examples[f"{name}/epsilons"]):
            at = rows[rows["epsilon"] == epsilon].set_index("sample")["prediction"]
            assert (at[samples] == examples[f"{name}/predictions"][e]).all()


def test_examples_take_the_classes_in_turn_however_images_are_stored(run):
    labels = np.repeat([0, 1, 2], [60, 15, 5])
    for count, expected in ((3, [1, 1, 1]), (7, [3, 2, 2]), (18, [7, 6, 5])):
        shown = in_turn(np.arange(80), labels)[:count]
        assert np.bincount(labels[shown]).tolist() == expected


def test_the_images_of_a_smaller_cap_are_among_those_of_a_larger_one(run):
    outcomes, examples = run([CLEAN, {**FGSM, "samples": 9}, {**PGD, "samples": 21}], examples=6)
    seen = {name: set(rows["sample"]) for name, rows in outcomes.groupby("attack")}
    assert [len(seen[name]) for name in ("fgsm", "pgd_linf", "clean")] == [9, 21, 40]
    assert seen["fgsm"] < seen["pgd_linf"] < seen["clean"]
    # Examples come from the images that all attacks of the suite were given.
    assert set(examples["samples"]) < seen["fgsm"]
    assert np.isfinite(examples["pgd_linf/images"]).all()


def test_a_cap_takes_a_stratified_part_that_no_chunk_size_changes(run, data):
    capped = {**FGSM, "samples": 12}
    first, _ = run([capped])
    second, _ = run([capped], chunk=5)
    chosen = first["sample"].unique()
    assert len(chosen) == 12
    assert set(data[1][chosen]) == {0, 1, 2}
    assert (chosen == second["sample"].unique()).all()


def test_two_runs_of_one_seed_agree_and_another_seed_does_not(run, tmp_path):
    first, _ = run([FGSM, PGD])
    second, _ = run([FGSM, PGD], work=tmp_path / "elsewhere")
    third, _ = run([FGSM, PGD], work=tmp_path / "third", seed=1)
    pd.testing.assert_frame_equal(first, second)
    assert not first["l2"].equals(third["l2"])


def test_chunk_and_batch_size_do_not_change_a_deterministic_attack(run, tmp_path):
    steady = {**PGD, "settings": {"steps": 4, "random_start": False}}
    first, _ = run([FGSM, steady])
    small = net_victim(max_batch=3)
    second, _ = run([FGSM, steady], small, work=tmp_path / "other", chunk=7)
    key = ["attack", "epsilon", "sample"]
    first, second = (frame.sort_values(key, ignore_index=True) for frame in (first, second))
    exact = ["prediction", "misclassified", "l0", "forwards", "backwards", "view"]
    pd.testing.assert_frame_equal(first[exact], second[exact])
    np.testing.assert_allclose(first["l2"], second["l2"], atol=1e-5)


def test_a_finished_suite_is_read_back_without_a_single_pass(run):
    first, shown = run([CLEAN, FGSM, PGD])
    second, again = run([CLEAN, FGSM, PGD])
    assert run.victim.forwards == 0
    pd.testing.assert_frame_equal(first, second, check_dtype=False, check_categorical=False)
    assert shown.keys() == again.keys()
    for name in shown:
        np.testing.assert_array_equal(shown[name], again[name])


@pytest.mark.parametrize("damage", ["missing", "truncated", "emptied", "pictures", "foreign"])
def test_a_damaged_chunk_is_noticed_and_alone_computed_again(run, damage):
    before, _ = run([FGSM])
    chunks = sorted(run.work.glob("fgsm_*/chunk_*.parquet"))
    assert len(chunks) == 3
    if damage == "missing":
        chunks[1].unlink()
    elif damage == "truncated":
        chunks[1].write_bytes(chunks[1].read_bytes()[:-100])
    elif damage == "emptied":
        chunks[1].write_bytes(b"")
    elif damage == "foreign":
        chunks[1].write_bytes(chunks[0].read_bytes())
    else:
        chunks[1].with_suffix(".npz").write_bytes(b"PK not a zip")
    untouched = chunks[0].stat().st_mtime_ns
    after, _ = run([FGSM])
    pd.testing.assert_frame_equal(before, after, check_dtype=False, check_categorical=False)
    assert run.victim.backwards == 16
    assert chunks[0].stat().st_mtime_ns == untouched


def test_a_job_that_is_broken_off_goes_on_at_its_first_missing_chunk(run, monkeypatch):
    whole, _ = run([FGSM, PGD], work=run.work / "whole")
    finished = []
    write = chunks.write_outcomes

    def interrupted(frame, path, provenance):
        if len(finished) == 4:
            raise KeyboardInterrupt
        write(frame, path, provenance)
        finished.append(path)

    monkeypatch.setattr(chunks, "write_outcomes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run([FGSM, PGD])
    monkeypatch.setattr(chunks, "write_outcomes", write)
    stored = {path: path.stat().st_mtime_ns for path in run.work.glob("*/chunk_*.parquet")}
    assert len(stored) == 4
    resumed, _ = run([FGSM, PGD])
    pd.testing.assert_frame_equal(whole, resumed, check_dtype=False, check_categorical=False)
    assert all(path.stat().st_mtime_ns == time for path, time in stored.items())


@pytest.mark.parametrize("shares", [2, 3, 20])
def test_shares_of_a_suite_together_are_the_suite(run, tmp_path, shares):
    attacks = [CLEAN, FGSM, PGD]
    alone, examples = run(attacks, work=tmp_path / "alone")
    done = [run(attacks, share=(number, shares))[0] for number in range(shares)]
    assert sum(map(len, done)) == len(alone)
    assert shares > 9 or all(len(part) for part in done)
    whole, shown = run(attacks)
    assert run.victim.forwards == run.victim.backwards == 0
    assert to_table(whole).equals(to_table(alone))
    assert all(np.array_equal(shown[name], examples[name]) for name in examples)


def test_an_ensemble_that_is_broken_off_goes_on_at_the_member_that_it_was_at(run, monkeypatch):
    whole, _ = run([ENSEMBLE], work=run.work / "whole")
    spent = run.victim.backwards
    save, saved = chunks.MemberStates.save, []

    def interrupted(self, member, result):
        save(self, member, result)
        saved.append(member)
        if saved[-2:] == ["apgd_t", "fab_t"] and len(saved) > 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(chunks.MemberStates, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run([ENSEMBLE])
    first = run.victim.backwards
    monkeypatch.setattr(chunks.MemberStates, "save", save)
    kept = sorted(path.name for path in run.work.glob("autoattack_*/*_after_*"))
    assert kept == [
        f"chunk_001_after_{name}.safetensors" for name in ("apgd_ce", "apgd_t", "fab_t")
    ]
    resumed, _ = run([ENSEMBLE])
    pd.testing.assert_frame_equal(whole, resumed, check_dtype=False, check_categorical=False)
    assert first + run.victim.backwards == spent
    assert not list(run.work.glob("autoattack_*/*_after_*"))


def test_a_damaged_state_of_an_ensemble_is_noticed_and_computed_again(run, monkeypatch):
    whole, _ = run([ENSEMBLE], work=run.work / "whole")
    monkeypatch.setattr(chunks.MemberStates, "clear", lambda self: None)
    run([ENSEMBLE])
    for path in run.work.glob("autoattack_*/*"):
        if "_after_" in path.name:
            path.write_bytes(b"no tensors")
        elif path.suffix == ".parquet":
            path.unlink()
    again, _ = run([ENSEMBLE])
    pd.testing.assert_frame_equal(whole, again, check_dtype=False, check_categorical=False)


def test_a_full_disk_is_one_clear_line_and_loses_no_finished_chunk(run, monkeypatch):
    whole, _ = run([FGSM, PGD], work=run.work / "whole")
    written, write = [], pq.write_table

    def full(*arguments, **options):
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(*arguments, **options)
        written.append(arguments)

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(AssayError, match=r"chunk_.*parquet: no space left"):
        run([FGSM, PGD])
    monkeypatch.setattr(pq, "write_table", write)
    stored = {path: path.stat().st_mtime_ns for path in run.work.glob("*/chunk_*.parquet")}
    assert len(stored) == 3
    resumed, _ = run([FGSM, PGD])
    pd.testing.assert_frame_equal(whole, resumed, check_dtype=False, check_categorical=False)
    assert all(path.stat().st_mtime_ns == time for path, time in stored.items())


@pytest.mark.parametrize(
    "change",
    [{"code": "other"}, {"epsilons": [0.02, 0.1]}, {"settings": {"steps": 5}}],
    ids=["code", "epsilons", "settings"],
)
def test_an_edit_to_one_attack_recomputes_that_attack_alone(run, change):
    run([FGSM, PGD])
    stored = {path: path.stat().st_mtime_ns for path in run.work.glob("fgsm_*/*")}
    run([FGSM, {**PGD, **change}])
    assert run.victim.backwards > 0
    assert len(list(run.work.glob("pgd_linf_*"))) == 2
    assert {path: path.stat().st_mtime_ns for path in run.work.glob("fgsm_*/*")} == stored


@pytest.mark.parametrize("option", [{"key": "other weights"}, {"repeats": 6}, {"seed": 3}])
def test_whatever_else_decides_an_outcome_recomputes_everything(run, option):
    run([FGSM])
    spent = run.victim.backwards
    run([FGSM], **option)
    assert run.victim.backwards == spent > 0


def test_clean_decisions_of_a_stochastic_victim_agree_between_attacks_and_suites(run, tmp_path):
    net = Net().eval()

    def victim():
        return Victim(
            logits=lambda x, g: net(x) + torch.randn((len(x), 3), generator=g),
            classes=3,
            shape=SHAPE,
            device="cpu",
            stochastic=True,
        )

    one, _ = run([CLEAN, FGSM], victim())
    two, _ = run(
        [{**PGD, "samples": 9}],
        victim(),
        ids=OTHER,
        work=tmp_path / "elsewhere" / "two",
    )
    decided = one[one["attack"] == "clean"].set_index("sample")["prediction"]
    for frame in (one, two):
        assert (decided[frame["sample"]].to_numpy() == frame["clean_prediction"]).all()
    assert one["misclassified_share"].between(0.01, 0.99).any()


def test_suites_of_one_model_share_the_decisions_on_unperturbed_images(run, tmp_path):
    run([CLEAN])
    spent = run.victim.forwards
    shared, _ = run([CLEAN], ids=OTHER, work=tmp_path / "other")
    assert run.victim.forwards == 0 < 40 <= spent
    alone, _ = run([CLEAN], ids=OTHER, work=tmp_path / "elsewhere" / "other")
    pd.testing.assert_frame_equal(shared, alone)
    # What decides them makes them again, and so does damage.
    run([CLEAN], ids=OTHER, work=tmp_path / "more", key="another")
    assert run.victim.forwards == spent
    for path in tmp_path.glob("clean_*"):
        path.write_bytes(b"damaged")
    run([CLEAN], ids=OTHER, work=tmp_path / "again")
    assert run.victim.forwards == spent


def test_a_damaged_inspection_is_measured_again(run, tmp_path):
    before = run([CLEAN])[0].attrs["audit"]
    (path,) = tmp_path.glob("inspection_*.json")
    path.write_text('{"verdict":')
    assert run([CLEAN])[0].attrs["audit"] == before


def test_when_memory_runs_out_the_batch_is_halved_and_nothing_is_lost(run, tmp_path):
    expected, _ = run([FGSM], work=tmp_path / "enough")
    net = Net().eval()

    def hungry(x, g):
        if len(x) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return net(x)

    victim = Victim(logits=hungry, classes=3, shape=SHAPE, device="cpu", max_batch=16)
    outcomes, _ = run([FGSM], victim)
    assert victim.max_batch == 4
    assert (outcomes["misclassified"] == expected["misclassified"]).all()


def test_when_not_even_one_image_fits_the_message_says_what_to_lower(run):
    def starved(x, g):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    victim = Victim(logits=starved, classes=3, shape=SHAPE, device="cpu")
    with pytest.raises(AttackError, match=r"single image does not fit.*evaluation\.chunk"):
        run([FGSM], victim)


def test_other_runtime_errors_are_not_mistaken_for_memory(run):
    def wrong(x, g):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    victim = Victim(logits=wrong, classes=3, shape=SHAPE, device="cpu", max_batch=16)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run([FGSM], victim)
    assert victim.max_batch == 16


def test_no_images_is_told(run):
    with pytest.raises(AttackError, match="no image to evaluate"):
        run([FGSM], indices=np.array([], dtype=int))
