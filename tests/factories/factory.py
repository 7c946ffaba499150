"""A small, deterministic, made-up run: outcomes and all files that the analysis reads.

Every sample has, for every model and attack, a distance at which it breaks. Distances share a
difficulty per sample, so models agree on easy and hard images as real ones do. Nothing here was
measured; the numbers are only shaped like a run: PGD is stronger than FGSM, the published and
corrected are weaker than the corrected attacks, one pixel breaks few images and was run on half of
them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from assay.analysis.brief import StudyBrief, parse_brief
from assay.analysis.run_files import RunFiles, parse_run_files
from assay.foundation.entries import read_entries
from assay.foundation.files import write_json
from assay.foundation.outcomes import OUTCOME_COLUMNS, SCHEMA, write_outcomes
from assay.foundation.provenance import write_arrays
from assay.foundation.seeds import rng_for

REPOSITORY = Path(__file__).resolve().parents[2]
DATASET = "medical_mnist"
CLASSES = ("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT")
FOLDS = 5
SIDE = 16
MADE = {
    "code": "c0de",
    "config": "c0f1",
    "data": "da7a",
    "seed": 0,
    "device": "cpu",
    "threads": 1,
    "seconds": 12.5,
    "written": "2024-05-06T07:08:09Z",
    "assay": "0.1.0",
    "python": "3.11.9",
    "platform": "linux-x86_64",
    "packages": {"torch": "2.0.0", "numpy": "1.0.0"},
}
SWEEP = "0.01,0.02,0.03,0.04,0.05,0.06,0.07,0.08,0.09,0.1"

# Median breaking distance in L-infinity of a corrected iterative attack, and clean error.
MODELS = {
    "resnet18_text": {"linf": 0.012, "error": 0.004, "title": "ResNet18 (text)"},
    "resnet18_as_coded": {"linf": 0.009, "error": 0.006, "title": "ResNet18 (as coded)"},
    "gbz_as_coded": {"linf": 0.045, "error": 0.012, "title": "GBZ (as coded)"},
    "gbz": {"linf": 0.048, "error": 0.014, "title": "GBZ (Bayes' rule)"},
    "dbx": {"linf": 0.028, "error": 0.008, "title": "DBX"},
}
# A model that decides with another one.
BASES = {"dbx": "gbz"}
# Models of the study file that the made-up run lacks.
_UNRUN = {"gbz_as_coded_mean": "GBZ (as coded, mean)", "gbz_deepbayes": "GBZ (deep Bayes)"}
# suite, attack, norm, epsilons, distance at which the attack breaks an image that the iterative
# L-infinity attack breaks at distance 1, forward passes, backward passes, share of samples.
_ATTACKS = """
linf_whitebox fgsm                   linf     sweep           1.8    1   1 1
linf_whitebox pgd_linf               linf     sweep,0.5       1.0   41  40 1
l2_whitebox   pgd_l2                 l2       0.25,0.5,1,2   25.0   41  40 1
blackbox      one_pixel              l0       1              60.0  400   0 0.5
corruptions       clean                  none     0               inf    1   0 1
corruptions       brightness             severity 1.3            60.0    1   0 1
corruptions       contrast               severity 4             300.0    1   0 1
corruptions       brightness_standard    severity 0.5,1,2        90.0    1   0 1
corruptions       contrast_standard      severity 0.5,1,2       120.0    1   0 1
corruptions       gaussian_noise         severity 0.05,0.1        8.0    1   0 1
as_published  fgsm_as_published      linf     sweep           4.0    1   1 1
as_published  fgsm_as_published_mended linf   sweep           2.0    1   1 1
as_published  pgd_as_published       linf     0.03,0.1        5.0   40  40 1
as_published  pgd_as_published_mended linf    0.03,0.1        1.2   40  40 1
as_published  one_pixel_as_published l0       1             400.0  400   0 0.5
as_published  one_pixel_as_published_mended l0 1             70.0  400   0 0.5
"""
ATTACKS = [
    dict(zip(("suite", "attack", "norm", "epsilons", "scale", "forwards", "backwards", "share"),
             line.split(), strict=True))
    for line in _ATTACKS.strip().splitlines()
]  # fmt: skip


def outcomes(
    *, models=tuple(MODELS), folds: int = FOLDS, per_fold: int = 40, attacks=tuple(ATTACKS)
) -> pd.DataFrame:
    """Outcome rows of a k-fold run: fold f tests the samples f, f + folds, f + 2 folds, ..."""
    return pd.concat(
        _rows(model, fold, folds, per_fold, attack)
        for model in models
        for fold in range(folds)
        for attack in attacks
    ).reset_index(drop=True)


def study(**changes) -> StudyBrief:
    """The study as the plan hands it to the analysis: with titles, entries and substitutes.

    Args:
        **changes: fields that differ, as mappings and lists.
    """
    text = (REPOSITORY / "config/studies/millner2024.yaml").read_text(encoding="utf-8")
    tree = {
        **yaml.safe_load(text),
        "name": "millner2024",
        "scale": "synthetic",
        "substitutes": {"models": {}, "datasets": {}},
        "measurements": {
            "saliency": {
                **_measurement("saliency:Saliency"),
                "attack": "pgd_linf",
                "epsilons": [0.01, 0.03],
            },
            "features": {**_measurement("features:Features"), "kept": "first"},
            "reconstructions": _measurement("reconstructions:Reconstructions"),
            "certificates": _measurement("certificates:Certificates"),
        },
        "titles": {
            "models": {**_UNRUN, **{model: facts["title"] for model, facts in MODELS.items()}},
            "attacks": {entry["attack"]: _attack_title(entry["attack"]) for entry in ATTACKS},
            "suites": {entry["suite"]: entry["suite"].replace("_", " ") for entry in ATTACKS},
            "datasets": {DATASET: "Medical MNIST"},
        },
        "attacks": {entry["attack"]: _attack_entry(entry["attack"]) for entry in ATTACKS},
        "access": {
            entry["attack"]: "white_box" if entry["backwards"] != "0" else "none"
            for entry in ATTACKS
        },
        "models": {model: _entry(model) for model in MODELS},
    }
    return parse_brief({**tree, **changes})


def varied(brief: StudyBrief, **changes) -> StudyBrief:
    """A study that differs in some fields, given as mappings and lists."""
    return parse_brief({**brief.to_json(), **changes})


def write_run(folder: Path, **sizes) -> RunFiles:
    """Writes a whole made-up run below `folder` and returns where its files are.

    Args:
        folder: where the files go.
        **sizes: passed on to :func:`outcomes`.
    """
    frame = outcomes(**sizes)
    manifest = {
        "scale": "synthetic",
        "seed": 0,
        "outcomes": [],
        "models": [],
        "measurements": [],
        "leakage": [],
        "leaks": [],
        "reported": [str(path) for path in sorted((REPOSITORY / "config/reported").glob("gbz_*"))],
    }
    for (split, model), cell in frame.groupby(["split", "model"], sort=False):
        ids = {"dataset": DATASET, "split": split, "model": model}
        place = folder / "models" / DATASET / split / model
        history_of(split, model).to_csv(_made(place / "history.csv"), index=False)
        write_json(place / "model.json", facts_of(split, model, frame))
        manifest["models"].append(
            {**ids, "history": str(place / "history.csv"), "facts": str(place / "model.json")}
        )
        for suite, rows in cell.groupby("suite", sort=False):
            target = folder / "outcomes" / DATASET / split / model / f"{suite}.parquet"
            examples = target.with_suffix(".npz")
            made = {**ids, **MADE, "suite": suite, "attacks": dict.fromkeys(rows.attack, "aa")}
            write_outcomes(rows, target, made)
            write_arrays(_examples(rows), examples, made)
            manifest["outcomes"].append(
                {**ids, "suite": suite, "path": str(target), "examples": str(examples)}
            )
        if model == "gbz_as_coded":
            clean = cell[cell.attack == "clean"]
            rng = rng_for("features", split)
            centres = rng_for("centres").normal(0, 3, (len(CLASSES), 100))
            features = centres[clean.label] + rng.normal(0, 1, (len(clean), 100))
            arrays = {
                "features": features.astype(np.float32),
                "labels": clean.label.to_numpy(np.int64),
                "samples": clean["sample"].to_numpy(),
            }
            manifest["measurements"].append(_stored("features", arrays, place, ids))
            made = _explained(cell[cell.suite == "linf_whitebox"])
            own = ("radii", "labels", "samples")
            for name, stored in (
                ("reconstructions", {k: v for k, v in made.items() if k not in own}),
                ("certificates", {k: made[k] for k in own}),
            ):
                manifest["measurements"].append(_stored(name, stored, place, ids))
        if split.endswith("_0"):
            clean = cell[cell.attack == "clean"]
            manifest["measurements"].append(_stored("saliency", _mapped(model, clean), place, ids))
    for split in dict.fromkeys(frame["split"]):
        target = folder / "splits" / DATASET / f"{split}.leakage.csv"
        shared = {
            "measure": ["images", "images", "duplicates", "patients"],
            "subsets": ["test", "test", "train-test", "train-test"],
            "class": ["all", "CXR", "all", "all"],
            "groups": [39, 7, 0, None],
            "images": [40, 7, 0, None],
            "share": [0.2, 0.035, 0.0, None],
        }
        pd.DataFrame(shared).to_csv(_made(target), index=False)
        manifest["leakage"].append({"dataset": DATASET, "split": split, "path": str(target)})
        target = target.with_name(f"{split}.leaks.parquet")
        leaks_of(frame[frame["split"] == split]).to_parquet(target)
        manifest["leaks"].append({"dataset": DATASET, "split": split, "path": str(target)})
    return parse_run_files(manifest)


def _measurement(implementation: str) -> dict[str, Any]:
    """The entry of a measurement as the plan gives it to the analysis."""
    title = implementation.partition(":")[2]
    return {
        "title": title,
        "implementation": f"assay.evaluation.measurements.{implementation}",
        "models": list(MODELS),
    }


def _stored(
    name: str, arrays: dict[str, np.ndarray], place: Path, ids: dict[str, str]
) -> dict[str, str]:
    """A written measurement's entry of the manifest."""
    made = {**ids, "measurement": name}
    write_arrays(arrays, place / f"{name}.npz", {**made, **MADE})
    return {**made, "path": str(place / f"{name}.npz")}


def leaks_of(rows: pd.DataFrame) -> pd.DataFrame:
    """What the test images of a split share: about half have a patient in training."""
    tested = rows.drop_duplicates("sample")[["sample", "label"]].reset_index(drop=True)
    number = tested["sample"].astype("Int64")
    none = pd.array([pd.NA] * len(tested), dtype="Int64")
    first = number.where(number // 7 % 2 == 0)
    for name, group, place in (
        ("duplicate", number, none),
        ("patient", number // 2, first.where(first % 5 > 0)),
        ("patient_safe", number // 4, first),
    ):
        tested[name], tested[f"{name}_first"] = group, place
        tested[f"{name}_in_train"] = tested[f"{name}_first"].notna()
    return tested


def _mapped(model: str, clean: pd.DataFrame) -> dict[str, np.ndarray]:
    """Maps and features of a few images, unperturbed and at two radii; half have a lesion."""
    rng = rng_for("saliency", model)
    labels = clean.label.to_numpy(np.int64)
    count, shown, versions = len(labels), 4, 3
    centres = rng_for("centres").normal(0, 3, (len(CLASSES), 20))
    lesion = np.where(np.arange(count) % 2, 0.1, np.nan)
    arrays = {
        "images": rng.random((versions, shown, 1, SIDE, SIDE), np.float32),
        "predictions": np.stack([(labels + (v > 0)) % len(CLASSES) for v in range(versions)]),
        "features": np.stack(
            [centres[labels] + v + rng.normal(0, 1, (count, 20)) for v in range(versions)]
        ).astype(np.float16),
        "labels": labels,
        "samples": clean["sample"].to_numpy(),
        "epsilons": np.array([0.0, 0.01, 0.03]),
        "lesion_share": lesion,
    }
    for method in ("gradient", "integrated_gradients"):
        maps = rng.random((versions, shown, SIDE, SIDE))
        known = ~np.isnan(lesion)
        hit = np.where(known, rng.random((versions, count)) < 0.5, np.nan)
        mass = np.where(known, rng.random((versions, count)), np.nan)
        arrays |= {
            f"maps/{method}": maps.astype(np.float16),
            f"pointing/{method}": hit,
            f"mass/{method}": mass,
        }
    return arrays


BATCH = 64


def history_of(split: str, model: str, epochs: int = 10) -> pd.DataFrame:
    """Ten epochs whose losses fall and whose accuracies rise, epoch 0 first."""
    epoch = np.arange(epochs)
    wobble = rng_for("history", split, model).normal(0, 0.001, epochs)
    frame = pd.DataFrame({"epoch": epoch})
    if not _generative(model):
        parts = {"classification": 0.2 * np.exp(-epoch) + 0.01}
    else:
        parts = {
            "reconstruction": 2150 + 180 * np.exp(-epoch / 1.5),
            "kl": 25 - 8 * np.exp(-epoch / 2),
            "classification": 0.6 * np.exp(-epoch / 1.2) + 0.02,
        }
    for part in ("train", "val"):
        rise = 0.12 if part == "train" else 0.03
        # The recipe elbo minimises the sum over a batch; its parts are stored per image.
        frame[f"{part}_loss"] = sum(parts.values()) * (BATCH if _generative(model) else 1)
        frame[f"{part}_accuracy"] = 0.996 - rise * np.exp(-epoch / 0.9) + wobble
        for name, values in parts.items():
            frame[f"{part}_{name}"] = values * (1 if part == "train" else 1.002)
    return frame.assign(learning_rate=3e-3, seconds=41.0)


def facts_of(split: str, model: str, frame: pd.DataFrame) -> dict:
    """What `model.json` says about one trained model."""
    tested = frame[(frame.split == split) & (frame.model == model)]["sample"].nunique()
    return {
        "name": model,
        "entry": _entry(model),
        "parameters": 9_646_351,
        "trainable_parameters": 9_646_351,
        "depth": 5 + list(MODELS).index(model),
        "flops": 1_000_000 * (9 - list(MODELS).index(model)),
        "pretrained": False,
        "classes": list(CLASSES),
        "training": {
            "objective": {"name": "elbo" if _generative(model) else "standard"},
            "batch_size": BATCH,
        },
        "loss_per": "batch" if _generative(model) else "image",
        "shape": [1, SIDE, SIDE],
        "train_n": tested * 3,
        "val_n": tested,
        "epochs": 10,
        "best_epoch": 8,
        "seed": 0,
        "provenance": {**MADE, "dataset": DATASET, "split": split, "model": model},
    }


def _rows(model: str, fold: int, folds: int, per_fold: int, attack: dict) -> pd.DataFrame:
    epsilons = np.array(attack["epsilons"].replace("sweep", SWEEP).split(","), float)
    samples = np.arange(per_fold) * folds + fold
    samples = samples[: max(1, round(per_fold * float(attack["share"])))]
    n, k, budgets = len(samples), len(CLASSES), len(epsilons)
    labels = samples % k
    distance, wrong = _distances(model, samples)
    misclassified = wrong[:, None] | (distance[:, None] * float(attack["scale"]) <= epsilons)
    prediction = np.where(misclassified, (labels[:, None] + 1) % k, labels[:, None])
    # Images that are already wrong are left alone; all others use up the budget.
    used = np.where(wrong[:, None], 0.0, epsilons).ravel()
    linf, l2, l0 = _LENGTHS[attack["norm"]]
    scores = np.full((n * budgets, k), 0.01) + rng_for(
        "scores", model, attack["attack"], fold
    ).uniform(0, 0.02, (n * budgets, k))
    scores[np.arange(n * budgets), prediction.ravel()] = 0.8
    scores /= scores.sum(axis=1, keepdims=True)
    active = np.repeat(~wrong, budgets)
    flips = 0.02 if model == "gbz_as_coded" else 0.0
    frame = pd.DataFrame({
        "dataset": DATASET, "split": f"kfold_{fold}", "model": model, "suite": attack["suite"],
        "attack": attack["attack"], "norm": attack["norm"],
        "sample": np.repeat(samples, budgets),
        "label": np.repeat(labels, budgets),
        "clean_prediction": np.repeat(np.where(wrong, (labels + 1) % k, labels), budgets),
        "prediction": prediction.ravel(),
        "misclassified": misclassified.ravel(),
        "target": -1,
        "misclassified_share": np.abs(misclassified.ravel() - flips),
        "epsilon": np.tile(epsilons, n),
        "linf": used * linf, "l2": used * l2, "l0": (used > 0) * l0,
        "view": "model" if attack["backwards"] != "0" else "", "route": "",
        "best_loss": np.nan, "last_improvement": np.nan, "silent_success": False,
        "forwards": np.where(active, int(attack["forwards"]), 1),
        "backwards": np.where(active, int(attack["backwards"]), 0),
        "zero_gradients": 0, "non_finite": 0, "saturated": 0,
        "log_px": -2200.0 if _generative(model) else np.nan,
        "scores": list(scores.astype(np.float32)),
    })  # fmt: skip
    types = {field.name: field.type.to_pandas_dtype() for field in SCHEMA if field.name in _NUMBERS}
    return frame.astype(types)[list(OUTCOME_COLUMNS)]


# L-infinity and L2 length of one unit of epsilon, and changed pixels, per norm.
_LENGTHS = {
    "linf": (1.0, SIDE, SIDE**2), "l2": (0.3, 1.0, SIDE**2), "l0": (1.0, 1.0, 1),
    "severity": (6.0, 90.0, SIDE**2), "none": (0.0, 0.0, 0),
}  # fmt: skip
_NUMBERS = {
    "label",
    "clean_prediction",
    "prediction",
    "misclassified_share",
    "linf",
    "l2",
    "best_loss",
    "last_improvement",
    "l0",
    "forwards",
    "backwards",
    "zero_gradients",
    "non_finite",
    "saturated",
    "target",
    "log_px",
}


def _distances(model: str, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """L-infinity distance at which each sample breaks, and whether it is wrong when clean."""
    many = 20_000
    difficulty = rng_for("difficulty").normal(0, 0.45, many)[samples]
    own = rng_for("own", model).normal(0, 0.25, many)[samples]
    wrong = rng_for("clean", model).random(many)[samples] < MODELS[model]["error"]
    return MODELS[model]["linf"] * np.exp(difficulty + own), wrong


def _generative(model: str) -> bool:
    return model.startswith("gbz")


def _entry(model: str) -> dict:
    generative = _generative(model)
    return {
        "title": MODELS[model]["title"],
        "family": "generative" if generative else "discriminative",
        "settings": {"latent_dim": 100, "input_size": 68} if generative else {},
        **({"needs": {"base": BASES[model]}} if model in BASES else {}),
        "training": {
            "objective": {"name": "elbo" if generative else "standard"},
            "epochs": 10,
            "batch_size": 64,
            "optimizer": {"name": "Adam", "lr": 3e-3, "weight_decay": 0.0},
            "scheduler": {"name": "StepLR", "step_size": 10, "gamma": 0.1},
        },
    }


def _explained(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Radii of the evaluated images, and imitations of the example images under PGD."""
    stored = _examples(rows)
    clean, labels = stored["clean/images"], stored["labels"]
    last = stored["pgd_linf/images"][-1]
    pairs = np.stack([clean, last])
    shades = np.linspace(0.5, 1, len(CLASSES))[None, None, :, None, None, None]
    tested = rows.drop_duplicates("sample")
    return {
        "radii": 0.3 * rng_for("radii").random(len(tested)),
        "labels": tested.label.to_numpy(),
        "samples": tested["sample"].to_numpy(),
        "pgd_linf/images": pairs,
        "pgd_linf/reconstructions": (pairs[:, :, None] * shades).astype(np.float16),
        "pgd_linf/log_likelihoods": -np.arange(1.0, 1 + 2 * len(labels) * len(CLASSES)).reshape(
            2, len(labels), len(CLASSES)
        ),
        "pgd_linf/predictions": np.stack([labels, (labels + 1) % len(CLASSES)]),
        "pgd_linf/labels": labels,
        "pgd_linf/epsilons": np.full(len(labels), 0.5),
    }


def _examples(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Four images per attack and epsilon, as the evaluation stores them."""
    samples = np.sort(rows["sample"].unique())[:4]
    grid = np.linspace(0, 1, SIDE)
    clean = np.stack([np.outer(grid**p, grid[::-1]) for p in (0.5, 1, 2, 3)])[: len(samples), None]
    first = rows.drop_duplicates("sample").set_index("sample")
    found = {
        "clean/images": clean.astype(np.float16),
        "clean/predictions": first.clean_prediction[samples].to_numpy()[None],
        "samples": samples,
        "labels": first.label[samples].to_numpy(),
    }
    for attack, cell in rows.groupby("attack", sort=False):
        wide = cell[cell["sample"].isin(samples)].pivot(
            index="epsilon", columns="sample", values="prediction"
        )
        epsilons = wide.index.to_numpy()
        sign = np.where(rng_for("examples", attack).random(clean.shape) < 0.5, -1, 1)
        change = np.minimum(epsilons, 0.2)[:, None, None, None, None] * sign
        if attack != "clean":
            found[f"{attack}/images"] = np.clip(clean + change, 0, 1).astype(np.float16)
            found[f"{attack}/predictions"] = wide.to_numpy()
        found[f"{attack}/epsilons"] = epsilons
    return found


@cache
def _catalogue() -> dict:
    path = REPOSITORY / "config/catalogue/attacks.yaml"
    return read_entries(path.name, yaml.safe_load(path.read_text(encoding="utf-8")))


def _attack_entry(attack: str) -> dict:
    """An attack as the catalogue has it, without what this run does not do."""
    entry = _catalogue()[attack]
    kept = ("implementation", "norm", "settings", "role", "single_step")
    return {**{key: entry[key] for key in kept if key in entry}, "source": "made up"}


def _attack_title(attack: str) -> str:
    words = attack.replace("_as_published", " (as published)").replace("_", " ")
    return words.replace("pgd linf", "PGD L∞").replace("pgd l2", "PGD L2").replace("fgsm", "FGSM")


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
