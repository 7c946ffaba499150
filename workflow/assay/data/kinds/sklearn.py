"""The image data that scikit-learn carries with it: always there, no network.

Settings:
    loader: name in `sklearn.datasets`, such as ``load_digits``.
    scale: factor from the loader's values to 0 … 255.
"""

from __future__ import annotations

import importlib

import numpy as np
import pandas as pd

from assay.data.collected import REQUIRED, Collected, Request, new_images

SETTINGS = {"loader": REQUIRED, "scale": REQUIRED}


def read(request: Request) -> Collected:
    """Loads, scales to bytes (rounding to nearest)."""
    loader = getattr(importlib.import_module("sklearn.datasets"), request.settings["loader"])
    bunch = loader()
    channels, height, width = request.entry["shape"]
    pixels = np.rint(bunch.images * request.settings["scale"]).clip(0, 255)
    images = new_images(request.folder, len(pixels), request.entry["shape"])
    images[:] = pixels.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
    images.flush()
    names = [f"{request.settings['loader']}/{row:05d}" for row in range(len(pixels))]
    samples = pd.DataFrame({"file": names, "label": np.asarray(bunch.target, np.int64)})
    return Collected(samples, request.entry["classes"])
