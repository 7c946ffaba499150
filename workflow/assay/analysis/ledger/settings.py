"""Printed settings, sizes, counts and durations against what this run used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from assay.analysis.ledger.agreement import Agreement, brief, compared_setting, cut
from assay.analysis.ledger.run import Row, Run
from assay.foundation.split import Split

# Where a printed hyper-parameter stands in a model's catalogue entry.
SETTINGS = {
    "latent_dim": "settings.latent_dim",
    "num_epochs": "training.epochs",
    "learning_rate": "training.optimizer.lr",
    "batch_size": "training.batch_size",
    "weight_decay": "training.optimizer.weight_decay",
    "scheduler_step_size": "training.scheduler.step_size",
    "scheduler_gamma": "training.scheduler.gamma",
}
SHAPE = {"image_channels": 0, "image_height": 1, "image_width": 2}
SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}


def hyper_parameter(run: Run, row: Row) -> Agreement:
    """A printed hyper-parameter against the catalogue entry that this run used."""
    model = run.name("models", row.model) or _table_model(run, row.file)
    entry = None if model is None else run.study.models.get(model)
    if model is None or entry is None:
        return run.lacking("models", row.model, "model")
    path = SETTINGS.get(row.key, "")
    value = _get(entry, path)
    if row.key in SHAPE:
        value = _side(run, row, model, entry, SHAPE[row.key])
    elif row.key in ("trainval_fraction", "test_fraction"):
        value = _share(run, row, "test" if row.key == "test_fraction" else "train")
    elif row.key == "conv_kernel_size":
        value = _kernel(run, row, model)
    if value is None:
        reason = "a setting; this run has no such setting"
        return Agreement("not comparable", reason, compared_with=model)
    here, whole = run.scaled("models", model).get(path, (None, None))
    if here is not None and whole is not None:
        found = compared_setting(row.reported, float(whole), model)
        less = f"{brief(float(here))} instead of {brief(float(whole))}"
        return cut(found._replace(reproduced=float(here)), [less])
    return compared_setting(row.reported, float(value), model)


def _share(run: Run, row: Row, subset: str) -> float | None:
    """The share of the test images (or of all others) of the data set, by the split files."""
    for sizes in _sizes(run, run.name("datasets", row.dataset), compared=True):
        test = sizes.get("test", 0) / sum(sizes.values())
        return round(test if subset == "test" else 1 - test, 3)
    return None


def _sizes(run: Run, dataset: str | None, *, compared: bool = False) -> list[dict[str, int]]:
    """Images by subset in each split of a data set, by the split files.

    Args:
        run: this run.
        dataset: its id.
        compared: only splits of the scheme that printed numbers are compared with.
    """
    found: dict[str, dict[str, int]] = {}
    for (name, split, subset), count in run.subsets.items():
        scheme = run.scheme if compared else None
        if name == dataset and scheme in (None, Split.of(split).scheme):
            found.setdefault(split, {})[subset] = count
    return list(found.values())


def _kernel(run: Run, row: Row, model: str) -> float | None:
    """The side of a network's convolutions, where its training wrote it down."""
    dataset = run.name("datasets", row.dataset)
    for key, facts in run.facts.items():
        if run.ours(key, dataset, model) and "kernel_size" in facts:
            return float(facts["kernel_size"])
    return None


def _side(run: Run, row: Row, model: str, entry: Mapping, axis: int) -> float | None:
    """A side of the images that the model sees, or their channels."""
    size = _get(entry, "settings.input_size")
    if axis and size:
        return size
    dataset = run.name("datasets", row.dataset)
    shapes = [f["shape"] for key, f in run.facts.items() if (key[0], key[2]) == (dataset, model)]
    return shapes[0][axis] if shapes else None


def _table_model(run: Run, file: str) -> str | None:
    """The model of the table that shows a file of printed hyper-parameters."""
    for spec in run.study.tables.values():
        if spec.get("reported") == file:
            return spec.get("model")
    return None


def architecture(run: Run, row: Row) -> Agreement:
    """A printed size of a network against that of the network that was trained."""
    dataset, model = run.name("datasets", row.dataset), run.name("models", row.model)
    for key, facts in run.facts.items():
        found = run.ours(key, dataset, model) and row.key in facts.get("architecture", {})
        if found and model is not None:
            return compared_setting(row.reported, float(facts["architecture"][row.key]), model)
    return Agreement("not run", f"this run has no network '{row.model}' trained on '{row.dataset}'")


def fact(run: Run, row: Row) -> Agreement:
    """A number of the paper's text (images, classes, folds, epochs) against this run's."""
    dataset = run.name("datasets", row.dataset)
    if dataset is None:
        return run.lacking("datasets", row.dataset, "data set")
    clean = run.of_scheme()
    clean = clean[(clean.dataset == dataset) & (clean.attack == "clean")]
    if clean.empty:
        return run.lacking("datasets", row.dataset, "data set")
    undecided = run.undecided(clean.scheme)
    if undecided:
        return Agreement("not comparable", undecided, compared_with=dataset)
    substitute = run.substitute(dataset, None)
    if substitute:
        return Agreement("not comparable", substitute, compared_with=dataset)
    names = (run.name("models", word) for word in run.study.reported.models)
    models = [name for name in names if name is not None]
    values = {
        "n_test": lambda: {dataset: (clean.n / clean.splits).max()},
        "n_total_approx": lambda: {dataset: _images(run, dataset)},
        "n_images": lambda: {dataset: _images(run, dataset)},
        "folds": lambda: {dataset: clean.splits.max()},
        "n_classes": lambda: {
            key[0]: len(facts["classes"]) for key, facts in run.facts.items() if key[0] == dataset
        },
        "epochs": lambda: {
            model: _get(run.study.models.get(model, {}), "training.epochs") for model in models
        },
    }[row.metric]()
    values = {owner: float(value) for owner, value in values.items() if value is not None}
    if not values:
        return Agreement("not comparable", "a count that this run does not record")
    if len(set(values.values())) > 1:
        each = ", ".join(
            f"{run.title('models', owner)}: {value:g}" for owner, value in values.items()
        )
        return Agreement("not comparable", f"a setting; the models differ: {each}")
    owner, value = next(iter(values.items()))
    if row.metric == "epochs":
        here, whole = run.scaled("models", owner).get("training.epochs", (None, None))
        if whole is not None:
            found = compared_setting(row.reported, float(whole), owner)
            return cut(found._replace(reproduced=value), [f"{here} of {whole} epochs"])
    if row.metric == "n_test":
        sizes = _sizes(run, dataset, compared=True)
        there = max((each["test"] for each in sizes if "test" in each), default=value)
        found = compared_setting(row.reported, float(there), owner)
        return cut(found, [f"evaluated on {value:,.0f} test images"]) if value < there else found
    return compared_setting(row.reported, value, owner)


def _images(run: Run, dataset: str) -> float | None:
    """How many images the data set has, by its split files."""
    totals = [sum(sizes.values()) for sizes in _sizes(run, dataset)]
    return float(max(totals)) if totals else None


def count(run: Run, row: Row) -> Agreement:
    """A cell of a confusion matrix: its class order is unknown, so it has no verdict."""
    return Agreement(
        "not comparable",
        f"a count of images with true class {row.true} and predicted class {row.predicted}, of "
        "other test images; the order of the classes depended on the authors' machine",
    )


def duration(run: Run, row: Row) -> Agreement:
    """A duration on the authors' hardware; training time of this run beside it."""
    reason = "a duration on other hardware"
    if row.key != "training":
        return Agreement("not comparable", reason)
    seconds = [
        frame.seconds.sum() for key, frame in run.history.items()
        if key[0] == run.name("datasets", row.dataset) and "seconds" in frame
    ]  # fmt: skip
    found = float(np.mean(seconds)) / SECONDS[row.unit] if seconds else np.nan
    return Agreement("not comparable", reason, reproduced=found)


def _get(entry: Any, path: str) -> Any:
    for key in path.split("."):
        entry = entry.get(key) if isinstance(entry, Mapping) else None
    return entry
