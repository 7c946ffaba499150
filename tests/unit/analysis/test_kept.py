"""What is kept beside a report gives the report again, and says when it cannot."""

import json
import shutil
from dataclasses import replace

import factory
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from report_factory import make_inputs, make_study

from assay.analysis.accuracy import accuracy, auroc
from assay.analysis.brief import parse_brief
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.kept import FILES, as_it_ran, keep_study, kept_run, read_records, run_facts
from assay.foundation.errors import AssayError
from assay.foundation.kept import KeptOutcomes, score_order, write_kept
from assay.foundation.outcomes import NEW, OUTCOME_COLUMNS, read_outcomes, write_outcomes
from assay.foundation.provenance import read_provenance
from assay.report.tables.build import ANALYSES, analysis_table, build_table

EXACT = [name for name in OUTCOME_COLUMNS if name not in ("scores", "l0", "log_px", "best_loss")]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A made-up run: its inputs, its study with figures of every kind, and its kept files."""
    folder = tmp_path_factory.mktemp("run")
    models = ("resnet18_text", "gbz_as_coded", "dbx")
    inputs = make_inputs(folder, models=models, folds=2, per_fold=30)
    study = make_study(inputs)
    keep_study(inputs.manifest, study, folder / "kept")
    return AnalysisInputs(inputs.manifest, study), folder / "kept"


@pytest.fixture
def kept(run, tmp_path):
    """A copy of the kept files, to be damaged."""
    return shutil.copytree(run[1], tmp_path / "kept")


def again(run, kept):
    return kept_run(kept, run[0].manifest)


def test_every_analysis_and_table_is_the_one_of_the_full_files(run):
    full, folder = run
    with again(run, folder) as manifest:
        small = AnalysisInputs(manifest, full.study)
        for name in ANALYSES:
            table, same = (analysis_table(name, full.study, each) for each in (full, small))
            pd.testing.assert_frame_equal(table.tidy, same.tidy)
            pd.testing.assert_frame_equal(table.display, same.display)
        for spec in full.study.tables.values():
            table, same = (build_table(spec, full.study, each) for each in (full, small))
            pd.testing.assert_frame_equal(table.tidy, same.tidy)
            assert table.caption == same.caption


def test_the_rows_are_those_of_the_outcome_files_in_the_order_that_is_asked_for(run):
    items = run[0].manifest.outcomes[::-1]
    kept = KeptOutcomes(run[1] / FILES[0])
    keys = [item.ids("dataset", "split", "model", "suite") for item in items]
    rows, full = kept.read(keys, EXACT), read_outcomes([item.path for item in items], EXACT)
    pd.testing.assert_frame_equal(rows, full, check_categorical=False)
    for item, key in zip(items, keys, strict=True):
        assert kept.made(key) == read_provenance(item.path)


def test_reading_in_small_groups_gives_the_same_rows(run, tmp_path, monkeypatch):
    monkeypatch.setattr("assay.foundation.kept.GROUP", 100)
    items = [item.to_json() for item in run[0].manifest.outcomes[:12]]
    write_kept(items, tmp_path / "small.parquet")
    kept = KeptOutcomes(tmp_path / "small.parquet")
    pd.testing.assert_frame_equal(
        kept.read(kept.keys, EXACT), KeptOutcomes(run[1] / FILES[0]).read(kept.keys, EXACT),
        check_categorical=False,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_scores_keeps_the_area_under_the_curve_of_any_choice_of_rows(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 400)
    # Rounded, so that many scores are tied.
    scores = rng.dirichlet(np.ones(3), 400).round(2)
    scores[np.arange(400), labels] += 0.3
    orders = np.stack([score_order(scores[:, k], labels == k) for k in range(3)], axis=1)
    for share in (0.05, 0.3, 1):
        chosen = rng.random(400) < share
        assert auroc(labels[chosen], orders[chosen]) == auroc(labels[chosen], scores[chosen])
    assert len(np.unique(orders[:, 0])) < len(np.unique(scores[:, 0]))


def test_a_score_that_is_not_finite_leaves_no_area_under_a_curve(tmp_path):
    rows = factory.outcomes(models=["gbz"], folds=1, per_fold=12).query("suite == 'linf_whitebox'")
    scores = [np.array(score) for score in rows.scores]
    scores[0] = np.full_like(scores[0], np.nan)
    rows = rows.assign(scores=scores)
    write_outcomes(rows, tmp_path / "a.parquet", {**factory.MADE, "attacks": {}})
    item = {"dataset": "d", "split": "s_0", "model": "gbz", "suite": "a"}
    write_kept([{**item, "path": str(tmp_path / "a.parquet")}], tmp_path / "kept.parquet")
    kept = KeptOutcomes(tmp_path / "kept.parquet")
    before, after = accuracy(rows).auroc, accuracy(kept.read(kept.keys)).auroc
    assert before.isna().any()
    np.testing.assert_array_equal(before, after)


def test_data_sets_with_different_numbers_of_classes_share_a_file(tmp_path):
    items = []
    for dataset, classes in (("few", 2), ("many", 6)):
        rows = factory.outcomes(models=["gbz"], folds=1, per_fold=12)
        rows = rows[rows.suite == "corruptions"].assign(
            dataset=dataset, label=lambda frame, k=classes: (frame.label % k).astype("int16"),
            scores=lambda frame, k=classes: [score[:k] for score in frame.scores],
        )  # fmt: skip
        write_outcomes(rows, tmp_path / f"{dataset}.parquet", {**factory.MADE, "attacks": {}})
        ids = {"dataset": dataset, "split": "kfold_0", "model": "gbz", "suite": "corruptions"}
        items.append({**ids, "path": str(tmp_path / f"{dataset}.parquet")})
    write_kept(items, tmp_path / "kept.parquet")
    kept = KeptOutcomes(tmp_path / "kept.parquet")
    for key, classes in zip(kept.keys, (2, 6), strict=True):
        assert {len(score) for score in kept.read([key]).scores} == {classes}
        full = read_outcomes(next(i["path"] for i in items if i["dataset"] == key[0]))
        np.testing.assert_array_equal(accuracy(full).auroc, accuracy(kept.read([key])).auroc)


def test_images_keep_the_precision_of_a_thumbnail_and_the_length_of_their_change(run):
    full, folder = run
    with again(run, folder) as manifest:
        small = AnalysisInputs(manifest, full.study)
        assert small.examples
        for key, path in small.examples.items():
            with np.load(path) as thumbs, np.load(full.examples[key]) as stored:
                for name in thumbs.files:
                    if name.endswith("/images"):
                        np.testing.assert_allclose(thumbs[name], stored[name], atol=0.004)
                        change, same = (
                            np.linalg.norm(each[name].astype(float) - each["clean/images"])
                            for each in (stored, thumbs)
                        )
                        assert same == pytest.approx(change, rel=0.005, abs=1e-3)
        # Figures show the first split.
        assert [key[1] for key in small.networks("features")] == ["kfold_0"]
        for key in small.networks("features"):
            thumbs, stored = (each.arrays("features", key) for each in (small, full))
            np.testing.assert_allclose(thumbs["features"], stored["features"], atol=0.1)
            np.testing.assert_array_equal(thumbs["labels"], stored["labels"])


def test_an_image_that_an_attack_did_not_see_stays_unknown(run):
    from assay.analysis.thumbnails import example_dimensions, packed, unpacked

    clean = np.full((2, 1, 4, 4), 0.5, np.float16)
    attacked = np.stack([clean, clean + np.float16(0.25)])
    attacked[1, 1] = np.nan
    found = unpacked(packed({"clean/images": clean, "pgd/images": attacked}, example_dimensions))[
        "pgd/images"
    ]
    assert np.isnan(found[1, 1]).all()
    assert np.isfinite(found[[0, 0, 1], [0, 1, 0]]).all()


def test_maps_and_images_under_saliency_keep_their_shades(run):
    full, folder = run
    with again(run, folder) as manifest:
        for key, path in AnalysisInputs(manifest, full.study).measured["saliency"].items():
            whole = full.measured["saliency"][key]
            with np.load(path) as thumbs, np.load(whole) as stored:
                assert set(thumbs.files) == set(stored.files)
                # Two images of each network are drawn.
                shown = thumbs["images"], stored["images"][:, :2]
                np.testing.assert_allclose(*shown, atol=0.002)
                for name in ("maps/gradient", "maps/integrated_gradients"):
                    np.testing.assert_allclose(thumbs[name], stored[name][:, :2], atol=0.005)
                np.testing.assert_array_equal(thumbs["epsilons"], stored["epsilons"])
                # Distances between images decide where t-SNE puts them.
                for before, after in zip(stored["features"], thumbs["features"], strict=True):
                    near, same = (
                        np.linalg.norm(np.diff(each.astype(float), axis=0), axis=1)
                        for each in (before, after)
                    )
                    np.testing.assert_allclose(same, near, rtol=0.05)


def test_outcomes_that_an_earlier_version_kept_give_the_same_analyses(run, kept):
    path, full = kept / FILES[0], run[0]
    stored = pq.read_table(path)
    metadata = dict(stored.schema.metadata)
    facts = json.loads(metadata[b"assay.kept"])
    metadata[b"assay.kept"] = json.dumps({**facts, "version": 1}).encode()
    pq.write_table(stored.drop_columns(list(NEW)).replace_schema_metadata(metadata), path)
    rows = KeptOutcomes(path).read(KeptOutcomes(path).keys[:1])
    assert list(rows.columns) == list(OUTCOME_COLUMNS)
    assert rows.silent_success.isna().all()
    with again(run, kept) as manifest:
        small = AnalysisInputs(manifest, full.study)
        pd.testing.assert_frame_equal(small.accuracy, full.accuracy)


def test_the_same_run_gives_the_same_bytes(run, tmp_path):
    full, folder = run
    keep_study(full.manifest, full.study, tmp_path)
    assert all((tmp_path / name).read_bytes() == (folder / name).read_bytes() for name in FILES)
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)


def test_facts_alone_give_the_same_files_as_the_whole_study(run, tmp_path):
    keep_study(run[0].manifest, run_facts(run[0].study), tmp_path)
    assert all((tmp_path / name).read_bytes() == (run[1] / name).read_bytes() for name in FILES)


def test_more_than_a_study_may_keep_is_an_error_that_writes_nothing(run, tmp_path):
    with pytest.raises(AssayError, match=r"0\.01 MB are allowed.*kept_megabytes") as raised:
        keep_study(run[0].manifest, run[0].study, tmp_path / "kept", limit=0.01)
    assert "\n" not in str(raised.value)
    assert not list((tmp_path / "kept").iterdir())
    size = keep_study(run[0].manifest, run[0].study, tmp_path / "kept", limit=3)
    assert size == sum((tmp_path / "kept" / name).stat().st_size for name in FILES)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["gone", "cut", "older"])
def test_a_file_that_cannot_be_used_is_named_with_the_remedy(run, kept, name, damage, monkeypatch):
    path = kept / name
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        monkeypatch.setattr("assay.analysis.kept.VERSION", 2)
        monkeypatch.setattr("assay.foundation.kept.READABLE", (3,))
    with pytest.raises(AssayError) as raised, again(run, kept):
        pass
    text = str(raised.value)
    assert "\n" not in text
    assert "run the study again" in text
    assert str(path if damage != "older" else kept / FILES[0]) in text


def test_what_the_plan_asks_for_and_the_files_lack_was_not_run(run):
    full, folder = run
    outcomes = full.manifest.outcomes
    more = replace(outcomes[0], model="newer")
    manifest = replace(full.manifest, outcomes=(*outcomes[3:], more))
    with kept_run(folder, manifest) as found:
        assert len(found.outcomes) == len(outcomes) - 3
        assert "newer" not in set(AnalysisInputs(found, full.study).outcomes(["model"]).model)


def test_settings_are_those_of_the_run_and_words_those_of_today(run, kept):
    ran = parse_brief(read_records(run[1])["study"])
    attacks, models = run[0].study.attacks, run[0].study.models
    today = replace(
        run[0].study,
        scale="other",
        attacks={k: {**v, "norm": "l2", "source": "reworded"} for k, v in attacks.items()},
        models={"gbz": {**models["gbz"], "training": {}, "title": "Reworded"}, "new": {}},
        titles={**run[0].study.titles, "models": {"gbz": "Reworded", "new": "New"}},
        scale_facts={**run[0].study.scale_facts, "description": "reworded"},
    )
    study = as_it_ran(today, ran)
    assert study.scale == "synthetic"
    assert study.attacks["fgsm"] == {**attacks["fgsm"], "source": "reworded"}
    assert study.models["gbz"]["training"] == models["gbz"]["training"]
    assert study.models["gbz"]["title"] == study.titles["models"]["gbz"] == "Reworded"
    assert study.titles["models"]["dbx"] == "dbx"
    assert study.titles["models"]["new"] == "New"
    assert study.scale_facts["description"] == "reworded"
    cut = replace(today, scale_facts={**today.scale_facts, "evaluation": {"samples": 7}})
    described = as_it_ran(cut, ran).scale_facts["description"]
    assert described == run[0].study.scale_facts["description"]


def test_records_are_text_with_a_line_for_each_file(run):
    text = (run[1] / FILES[1]).read_text(encoding="utf-8")
    files = json.loads(text)["files"]
    assert len(files) == len({*run[0].history, *run[0].facts}) * 2 + len(run[0].manifest.leakage)
    assert len(text.splitlines()) == len(files) + 8
