"""A small, deterministic, made-up run: outcomes and all files that the analysis reads.

Every sample has, for every model and attack, a distance at which it breaks. Distances share a
difficulty per sample, so models agree on easy and hard images as real ones do. Nothing here was
measured; the numbers are only shaped like a run: PGD is stronger than FGSM, the published twins
are weaker than the corrected attacks, one pixel breaks few images and was run on half of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from assay.foundation.files import write_json
from assay.foundation.outcomes import OUTCOME_COLUMNS, write_outcomes
from assay.foundation.seeds import rng_for

REPOSITORY = Path(__file__).resolve().parents[3]
DATASET = "medical_mnist"
CLASSES = ("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT")
FOLDS = 5
SIDE = 16
SWEEP = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1)
SEVERITIES = (0.5, 1.0, 2.0)

# Median breaking distance in L-infinity of a corrected iterative attack, and clean error.
MODELS = {
    "resnet18_text": {"linf": 0.012, "error": 0.004, "title": "ResNet18 (text)"},
    "gbz_as_coded": {"linf": 0.045, "error": 0.012, "title": "GBZ (as coded)"},
    "gbz": {"linf": 0.048, "error": 0.014, "title": "GBZ (Bayes' rule)"},
    "dbx": {"linf": 0.028, "error": 0.008, "title": "DBX"},
}
# gain: the attack's distances are this factor of the iterative attack's; unit: length of a unit
# distance in the attack's own norm. Only the first `share` of each fold's samples is attacked.
ATTACKS = (
    {"suite": "natural", "attack": "clean", "norm": "none", "epsilons": (0.0,)},
    {"suite": "linf_whitebox", "attack": "fgsm", "norm": "linf", "epsilons": SWEEP,
     "gain": 1.8, "unit": 1.0, "forwards": 1, "backwards": 1},
    {"suite": "linf_whitebox", "attack": "pgd_linf", "norm": "linf",
     "epsilons": (*SWEEP, 0.5), "gain": 1.0, "unit": 1.0, "forwards": 41, "backwards": 40},
    {"suite": "l2_whitebox", "attack": "pgd_l2", "norm": "l2", "epsilons": (0.25, 0.5, 1.0, 2.0),
     "gain": 1.0, "unit": 25.0, "forwards": 41, "backwards": 40},
    {"suite": "blackbox", "attack": "one_pixel", "norm": "l0", "epsilons": (1.0,),
     "gain": 1.0, "unit": 4.0, "forwards": 400, "backwards": 0, "share": 0.5},
    {"suite": "natural", "attack": "brightness", "norm": "severity", "epsilons": (1.3,),
     "gain": 1.0, "unit": 60.0, "forwards": 1, "backwards": 0},
    {"suite": "natural", "attack": "contrast", "norm": "severity", "epsilons": (4.0,),
     "gain": 1.0, "unit": 300.0, "forwards": 1, "backwards": 0},
    {"suite": "natural", "attack": "brightness_standard", "norm": "severity",
     "epsilons": SEVERITIES, "gain": 1.0, "unit": 90.0, "forwards": 1, "backwards": 0},
    {"suite": "natural", "attack": "contrast_standard", "norm": "severity",
     "epsilons": SEVERITIES, "gain": 1.0, "unit": 120.0, "forwards": 1, "backwards": 0},
    {"suite": "natural", "attack": "gaussian_noise", "norm": "severity",
     "epsilons": (0.05, 0.1), "gain": 1.0, "unit": 8.0, "forwards": 1, "backwards": 0},
    {"suite": "as_published", "attack": "fgsm_as_published", "norm": "linf", "epsilons": SWEEP,
     "gain": 4.0, "unit": 1.0, "forwards": 1, "backwards": 1},
    {"suite": "as_published", "attack": "pgd_as_published", "norm": "linf",
     "epsilons": (0.03, 0.1), "gain": 5.0, "unit": 1.0, "forwards": 40, "backwards": 40},
    {"suite": "as_published", "attack": "one_pixel_as_published", "norm": "l0",
     "epsilons": (1.0,), "gain": 1.0, "unit": 400.0, "forwards": 400, "backwards": 0,
     "share": 0.5},
)


def outcomes(
    *, models=tuple(MODELS), folds: int = FOLDS, per_fold: int = 40, attacks=ATTACKS
) -> pd.DataFrame:
    """Outcome rows of a k-fold run: fold f tests the samples f, f + folds, f + 2 folds, ..."""
    return pd.concat(
        _rows(model, fold, folds, per_fold, attack)
        for model in models
        for fold in range(folds)
        for attack in attacks
    ).reset_index(drop=True)


def study() -> dict:
    """The study file as the plan hands it to the analysis: with titles, entries and stand-ins."""
    text = (REPOSITORY / "config/studies/millner2024.yaml").read_text(encoding="utf-8")
    return {
        **yaml.safe_load(text),
        "name": "millner2024",
        "scale": "synthetic",
        "stand_ins": {"models": {}, "datasets": {}},
        "titles": {
            "models": {model: facts["title"] for model, facts in MODELS.items()},
            "attacks": {entry["attack"]: _attack_title(entry) for entry in ATTACKS},
            "datasets": {DATASET: "Medical MNIST"},
        },
        "attacks": {entry["attack"]: {"norm": entry["norm"]} for entry in ATTACKS},
        "models": {model: _entry(model) for model in MODELS},
    }


def write_run(folder: Path, **sizes) -> dict:
    """Writes a whole made-up run below `folder` and returns the manifest that names its files.

    Args:
        folder: where the files go.
        **sizes: passed on to :func:`outcomes`.
    """
    frame = outcomes(**sizes)
    manifest = {
        "scale": "synthetic", "seed": 0, "study": study(),
        "outcomes": [], "models": [], "features": [], "leakage": [],
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
            write_outcomes(rows, target, {"seed": 0, "seconds": 12.5, "device": "cpu"})
            np.savez_compressed(examples, **_examples(rows))
            manifest["outcomes"].append(
                {**ids, "suite": suite, "path": str(target), "examples": str(examples)}
            )
        if model == "gbz_as_coded":
            clean = cell[cell.attack == "clean"]
            rng = rng_for("features", split)
            centres = rng_for("centres").normal(0, 3, (len(CLASSES), 100))
            features = centres[clean.label] + rng.normal(0, 1, (len(clean), 100))
            np.savez_compressed(
                place / "features.npz", features=features.astype(np.float32),
                labels=clean.label.to_numpy(np.int64), samples=clean["sample"].to_numpy(),
            )
            manifest["features"].append({**ids, "path": str(place / "features.npz")})
    return manifest


def history_of(split: str, model: str, epochs: int = 10) -> pd.DataFrame:
    """Ten epochs whose losses fall and whose accuracies rise, epoch 0 first."""
    epoch = np.arange(epochs)
    wobble = rng_for("history", split, model).normal(0, 0.001, epochs)
    frame = pd.DataFrame({"epoch": epoch})
    if model == "resnet18_text":
        parts = {"classification": 0.2 * np.exp(-epoch) + 0.01}
    else:
        parts = {
            "reconstruction": 2150 + 180 * np.exp(-epoch / 1.5),
            "kl": 25 - 8 * np.exp(-epoch / 2),
            "classification": 0.6 * np.exp(-epoch / 1.2) + 0.02,
        }
    for part in ("train", "val"):
        rise = 0.12 if part == "train" else 0.03
        frame[f"{part}_loss"] = sum(parts.values())
        frame[f"{part}_accuracy"] = 0.996 - rise * np.exp(-epoch / 0.9) + wobble
        for name, values in parts.items():
            frame[f"{part}_{name}"] = values * (1 if part == "train" else 1.002)
    return frame.assign(learning_rate=3e-3, seconds=41.0)


def facts_of(split: str, model: str, frame: pd.DataFrame) -> dict:
    """What `model.json` says about one trained model."""
    tested = frame[(frame.split == split) & (frame.model == model)]["sample"].nunique()
    return {
        "name": model, "entry": _entry(model), "parameters": 9_646_351,
        "trainable_parameters": 9_646_351, "pretrained": False, "classes": len(CLASSES),
        "shape": [1, SIDE, SIDE], "train_n": tested * 3, "val_n": tested, "epochs": 10,
        "best_epoch": 8, "seed": 0, "provenance": {"device": "cpu"},
    }


def _rows(model: str, fold: int, folds: int, per_fold: int, attack: dict) -> pd.DataFrame:
    samples = np.arange(per_fold) * folds + fold
    samples = samples[: max(1, round(per_fold * attack.get("share", 1.0)))]
    n, k, epsilons = len(samples), len(CLASSES), np.asarray(attack["epsilons"])
    labels = samples % k
    distance, wrong = _distances(model, samples, attack)
    clean_prediction = np.where(wrong, (labels + 1) % k, labels)
    broken = wrong[:, None] | (distance[:, None] <= epsilons)
    # Already wrong images are left as they are; ball attacks use up their budget.
    used = np.where(wrong[:, None], 0.0, epsilons) / attack.get("unit", 1.0)
    if attack["norm"] == "l0":
        used = np.where(broken & ~wrong[:, None], 1.0, 0.0)
    scores = np.full((n, len(epsilons), k), 0.04 / (k - 1))
    prediction = np.where(broken, (labels[:, None] + 1) % k, labels[:, None])
    np.put_along_axis(scores, prediction[..., None], 0.96, axis=2)
    noise = rng_for("scores", model, attack["attack"], fold).uniform(0.5, 1, scores.shape)
    scores = scores * noise
    scores /= scores.sum(axis=2, keepdims=True)
    stochastic = 0.02 if model == "gbz_as_coded" else 0.0
    active = ~np.repeat(wrong, len(epsilons))
    l2 = used if attack["norm"] == "l2" else used * (1 if attack["norm"] == "l0" else SIDE)
    l2 = l2 * attack.get("unit", 1.0) if attack["norm"] == "l2" else l2
    linf = used / attack.get("unit", 1.0) if attack["norm"] == "l2" else used
    frame = pd.DataFrame({
        "dataset": DATASET, "split": f"kfold_{fold}", "model": model, "suite": attack["suite"],
        "attack": attack["attack"], "norm": attack["norm"],
        "sample": np.repeat(samples, len(epsilons)),
        "label": np.repeat(labels, len(epsilons)).astype(np.int16),
        "clean_prediction": np.repeat(clean_prediction, len(epsilons)).astype(np.int16),
        "prediction": prediction.ravel().astype(np.int16),
        "broken": broken.ravel(),
        "replay_share": np.abs(broken.ravel() - stochastic).astype(np.float32),
        "epsilon": np.tile(epsilons, n),
        "linf": linf.ravel().astype(np.float32),
        "l2": l2.ravel().astype(np.float32),
        "l0": (linf.ravel() > 0) * (1 if attack["norm"] == "l0" else SIDE * SIDE),
        "view": "model" if attack.get("backwards") else "",
        "forwards": np.where(active, attack.get("forwards", 1), 1),
        "backwards": np.where(active, attack.get("backwards", 0), 0),
        "zero_gradients": 0, "non_finite": 0,
        "log_px": np.float32(np.nan) if model == "resnet18_text" else np.float32(-2200.0),
        "scores": list(scores.reshape(-1, k).astype(np.float32)),
    })
    counts = ["l0", "forwards", "backwards", "zero_gradients", "non_finite"]
    return frame.astype(dict.fromkeys(counts, np.int32))[list(OUTCOME_COLUMNS)]


def _distances(model: str, samples: np.ndarray, attack: dict) -> tuple[np.ndarray, np.ndarray]:
    """Breaking distance in the attack's own unit, and whether the clean image is wrong."""
    size = int(samples.max()) + 1
    difficulty = rng_for("difficulty").normal(0, 0.45, 100_000)[:size]
    own = rng_for("own", model).normal(0, 0.25, 100_000)[:size]
    wrong = rng_for("clean", model).uniform(0, 1, 100_000)[:size] < MODELS[model]["error"]
    distance = MODELS[model]["linf"] * np.exp(difficulty + own)
    scale = attack.get("gain", np.inf) * attack.get("unit", 1.0)
    if attack["norm"] == "l0":
        scale *= 25.0
    return distance[samples] * scale, wrong[samples]


def _entry(model: str) -> dict:
    generative = model != "resnet18_text"
    return {
        "title": MODELS[model]["title"],
        "family": "generative" if generative else "discriminative",
        "settings": {"latent": 100, "kernel": 4, "input_size": 68} if generative else {},
        "training": {
            "recipe": "elbo" if generative else "standard", "epochs": 10, "batch_size": 64,
            "learning_rate": 3e-3, "weight_decay": 0.0,
            "scheduler": {"step_size": 10, "gamma": 0.1},
        },
    }


def _examples(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Four images per attack and epsilon, as the evaluation stores them."""
    samples = np.sort(rows["sample"].unique())[:4]
    grid = np.linspace(0, 1, SIDE)
    clean = np.stack([np.outer(grid**p, grid[::-1]) for p in (0.5, 1, 2, 3)])[: len(samples), None]
    first = rows.drop_duplicates("sample").set_index("sample")
    found = {
        "clean/images": clean.astype(np.float16), "samples": samples,
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
        found[f"{attack}/epsilons"] = epsilons
        found[f"{attack}/predictions"] = wide.to_numpy()
    return found


def _attack_title(entry: dict) -> str:
    words = entry["attack"].replace("_as_published", " (as published)").replace("_", " ")
    return words.replace("pgd linf", "PGD L∞").replace("pgd l2", "PGD L2").replace("fgsm", "FGSM")


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
