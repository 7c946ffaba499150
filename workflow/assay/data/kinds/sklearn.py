"""The image data that scikit-learn carries with it: always there, no network.

Settings:
    loader: name in `sklearn.datasets`, such as ``load_digits``.
    scale: factor from the loader's values to 0 … 255.
    resize: whether images are enlarged (bilinear) to the entry's shape.
"""

from __future__ import annotations

import importlib

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from assay.data.collected import REQUIRED, Collected, Request, new_images

SETTINGS = {"loader": REQUIRED, "scale": REQUIRED, "resize": False}


def read(request: Request) -> Collected:
    """Loads, scales and, on request, enlarges; rounds to whole bytes."""
    loader = getattr(importlib.import_module("sklearn.datasets"), request.settings["loader"])
    bunch = loader()
    channels, height, width = request.entry["shape"]
    pixels = bunch.images.reshape(len(bunch.images), *bunch.images.shape[1:3], channels)
    pixels = (pixels * request.settings["scale"]).transpose(0, 3, 1, 2)
    if request.settings["resize"]:
        pixels = functional.interpolate(
            torch.from_numpy(pixels), size=(height, width), mode="bilinear", align_corners=False
        ).numpy()
    images = new_images(request.folder, len(pixels), request.entry["shape"])
    images[:] = np.rint(pixels).clip(0, 255)
    images.flush()
    names = [f"{request.settings['loader']}/{row:05d}" for row in range(len(pixels))]
    samples = pd.DataFrame({"file": names, "label": np.asarray(bunch.target, np.int64)})
    return Collected(samples, request.entry["classes"])
