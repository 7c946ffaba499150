"""``python -m assay.evaluation.measurements NAME``: tries a measurement on a small network."""

from __future__ import annotations

import argparse
import logging
import sys

import numpy as np
import yaml
from tabulate import tabulate

from assay.evaluation.measurements.base import Data, make_measurement, measured
from assay.foundation.arrays import column
from assay.foundation.errors import AssayError
from assay.foundation.resources import resource
from assay.models.base import build

CATALOGUE = resource("config/catalogue/measurements.yaml")
# Networks that are tried: small, not trained, for images of 28 x 28 pixels.
MODELS = {
    "cnn": {"implementation": "assay.models.cnn:CNN", "settings": {}},
    "gbz": {"implementation": "assay.models.gbz:GBZ", "settings": {"latent_dim": 4}},
    "abs": {
        "implementation": "assay.models.synthesis:AnalysisBySynthesis",
        "settings": {"steps": 2, "candidates": 16},
    },
}
ATTACK = {"name": "fgsm", "implementation": "assay.attacks.fgsm:FGSM", "norm": "linf"}


def main(arguments: list[str] | None = None) -> None:
    """Measures eight random images with a network that is not trained, and lists the arrays.

    What is measured means nothing. It shows that a measurement runs, that its arrays follow its
    schema, and how large they are.
    """
    entries = yaml.safe_load(CATALOGUE.read_text("utf-8"))
    parser = argparse.ArgumentParser(
        prog="python -m assay.evaluation.measurements", description=main.__doc__
    )
    parser.add_argument("name", choices=list(entries), help="an id of measurements.yaml")
    parser.add_argument("--model", choices=list(MODELS), default="cnn", help="the network")
    chosen = parser.parse_args(arguments)
    logging.disable(logging.INFO)
    images = np.random.default_rng(0).integers(0, 256, (8, 1, 28, 28), dtype=np.uint8)
    model = build(chosen.model, MODELS[chosen.model], classes=3, shape=(1, 28, 28), seed=1)
    model.awaits = None
    data = Data(
        images=images,
        labels=np.arange(8) % 3,
        indices=np.arange(8),
        attack=ATTACK,
        epsilons=[0.1],
        shown=2,
    )
    try:
        measurement = make_measurement({"name": chosen.name, **entries[chosen.name]})
        arrays = measured(measurement, model, data)
    except AssayError as error:
        sys.exit(f"error: {error}")
    rows = []
    for name, array in arrays.items():
        found = column(name, measurement.arrays)
        meaning = measurement.arrays[found.key][2] if found else ""
        shape = " x ".join(map(str, np.shape(array))) or "1"
        rows.append((name, np.asarray(array).dtype, shape, meaning))
    headers = ("array", "type", "shape", "meaning")
    sys.stdout.write(tabulate(rows, headers, disable_numparse=True) + "\n")


if __name__ == "__main__":
    main()
