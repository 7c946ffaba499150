"""What a run is said to cost beforehand: from what other jobs cost, scaled by their work."""

import dataclasses
import math
import re

import pyarrow as pa
import pytest

from assay.foundation.errors import ConfigError
from assay.foundation.provenance import provenance, write_parquet
from assay.foundation.resources import ROOT
from assay.plan import command
from assay.plan.configuration import read_configuration
from assay.plan.forecast import (
    Record,
    Sizes,
    compared,
    forecast,
    read_costs,
    recorded,
    write_costs,
)
from assay.plan.layers import Layers
from assay.plan.plan import make_plan

PLAN = make_plan(read_configuration({"scale": "smoke", "studies": ["millner2024"]}))
CELL = next(cell for cell in PLAN.cells if cell.suite == "linf_whitebox")


def record(cell=CELL, **changes):
    sizes = Sizes(PLAN, ROOT / "nothing")
    found = Record(
        "run_suite",
        cell.dataset,
        cell.model,
        cell.suite,
        sizes.work("run_suite", *cell),
        sizes.pixels(cell.dataset),
        20.0,
        "cpu",
    )
    return dataclasses.replace(found, **changes)


def expected(records, cell=CELL):
    found = forecast(PLAN, records, ROOT / "nothing")
    return next(
        job for job in found.costs if job.rule == "run_suite" and (
            job.dataset, job.split, job.model, job.suite) == cell
    )  # fmt: skip


def test_a_job_that_ran_is_expected_to_cost_what_it_cost():
    # Another job says what it takes to start.
    idle = record(model="other", seconds=2.0)
    job = expected([record(), idle])
    assert job.basis == "this job"
    assert job.seconds == pytest.approx(20.0, rel=0.02)


def test_twice_the_work_costs_twice_as_much_beyond_the_start():
    idle = record(model="other", seconds=2.0)
    job = expected([record(work=record().work / 2), idle])
    assert job.seconds == pytest.approx(2 + 2 * 18, rel=0.02)


@pytest.mark.parametrize(
    ("changes", "basis"),
    [
        ({"dataset": "mnist"}, "its suite"),
        ({"dataset": "mnist", "suite": "corruptions"}, "its model"),
        ({"model": "unheard_of"}, "other models"),
    ],
)
def test_the_nearest_records_decide(changes, basis):
    assert expected([record(**changes)]).basis == basis


def test_without_records_nothing_is_made_up():
    found = forecast(PLAN, [], ROOT / "nothing")
    assert all(math.isnan(job.seconds) for job in found.costs)
    assert found.seconds == 0
    assert {job.basis for job in found.costs} == {"nothing"}


def test_every_job_of_the_plan_is_counted():
    found = forecast(PLAN, [], ROOT / "nothing")
    assert found.jobs["train_model"] == (len(PLAN.trainings), 0)
    assert found.jobs["run_suite"] == (len(PLAN.cells), 0)
    assert len(found.costs) == len(PLAN.trainings) + len(PLAN.cells)
    rules = (ROOT / "workflow/rules").glob("*.smk")
    texts = "\n".join(file.read_text() for file in rules)
    names = set(re.findall(r"^rule (\w+):", texts, re.MULTILINE))
    # No model of this study is from outside, or starts from published weights.
    assert found.jobs.keys() == names - {"check_entries", "fetch_weights"}
    assert found.jobs["draw_study"] == found.jobs["keep_outcomes"] == (1, 0)
    assert all(size > 0 for size in found.bytes.values())


def test_work_follows_epochs_adversaries_and_caps(tmp_path):
    def work(**models):
        changed = {name: {"training": training} for name, training in models.items()}
        given = {"scale": "paper", "studies": ["ju2021_eabs"], "catalogue": {"models": changed}}
        plan = make_plan(read_configuration(given))
        return Sizes(plan, tmp_path).work("train_model", "mnist", "official_0", "cnn_adv_linf", "")

    plain = work()
    # 60,000 images, less a tenth for validation, 200 epochs, ten steps and the update.
    assert plain == pytest.approx(60_000 * 0.9 * 200 * 11, rel=0.01)
    assert work(cnn_adv_linf={"epochs": 100}) == pytest.approx(plain / 2)
    assert work(cnn_adv_linf={"samples": 1000}) == pytest.approx(1000 * 200 * 11)


def test_an_uncounted_data_set_is_said_to_be(tmp_path):
    configuration = read_configuration({"scale": "paper", "studies": ["ju2021_eabs"]})
    plan = make_plan(configuration)
    assert "svhn" not in forecast(plan, [], tmp_path).assumed
    for file in configuration.catalogue["datasets"]["svhn"]["files"]:
        for copy in file["copies"]:
            del copy["images"]
    assert "svhn" in forecast(plan, [], tmp_path).assumed


def test_records_survive_a_file(tmp_path):
    path = tmp_path / "costs.csv"
    first, second = record(seconds=10.0), record(seconds=30.0)
    assert write_costs([first, second], path) == 1
    (found,) = read_costs(path)
    assert found == dataclasses.replace(first, seconds=20.0, work=round(first.work, 1))
    assert read_costs(tmp_path / "none.csv") == []
    path.write_text("rule,dataset\n")
    with pytest.raises(ConfigError, match=r"costs\.csv: there is no column 'model'"):
        read_costs(path)


def test_benchmark_files_of_finished_jobs_are_records(tmp_path):
    for part in ("config", "workflow"):
        (tmp_path / part).symlink_to(ROOT / part)
    results = tmp_path / "results/smoke"
    benchmark = results / "benchmarks/run_suite" / "/".join(CELL[:-1]) / f"{CELL.suite}.tsv"
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text("s\th:m:s\tmax_rss\n12.5\t0:00:12\t700.0\n")
    layers = Layers.here(tmp_path)
    assert list(recorded(layers)) == []  # a benchmark without its outcome file is of a failed job
    outcome = results / "outcomes" / f"{'/'.join(CELL)}.parquet"
    outcome.parent.mkdir(parents=True)
    made = provenance(device="cpu", seconds=9.0)
    write_parquet(pa.table({"a": [1]}), outcome, made)
    (found,) = recorded(layers)
    assert (found.seconds, found.device) == (12.5, "cpu")
    assert found.work == record().work
    # Of a suite that several jobs shared, the outcome file knows what they all took.
    write_parquet(pa.table({"a": [1]}), outcome, {**made, "seconds": 99.0})
    assert next(recorded(layers)).seconds == 99.0


def test_the_command_tells_jobs_hours_disk_and_the_dearest(capsys):
    assert command.main(["plan", "--scale", "smoke", "--studies", "millner2024"]) == 0
    message = capsys.readouterr().out
    for word in ("train_model", "run_suite", "Training:", "Attacks:", "Disk:", "most expensive"):
        assert word in message


def test_a_wrong_name_is_one_line(capsys):
    assert command.main(["plan", "--scale", "smokes"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert "smoke" in message


def test_jobs_that_ran_are_compared_with_what_the_others_foretell():
    twin = record(dataset="mnist", work=record().work * 2, seconds=38.0)
    found = compared([record(), twin, record(model="other", suite="s", seconds=2.0)])
    found = found[found.model == CELL.model].set_index("dataset")
    assert list(found.basis) == ["its suite", "its suite"]
    assert found.expected[CELL.dataset] == pytest.approx(20, rel=0.02)
    assert found.expected["mnist"] == pytest.approx(38, rel=0.02)
