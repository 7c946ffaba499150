"""Synthetic chest "radiographs" whose lesions, masks and patients are known.

The substitute for medical images where none may be shipped, and the ground truth for saliency maps.
Each patient has an anatomy of their own (thorax, lungs, heart, ribs, spine) and one class; their
images differ in position, breath, exposure and noise. An image is

    anatomy(patient, image) + separation · lesion(patient, image) + noise

so `separation` moves the classes apart without touching anything else, and the mask is where the
lesion is, whatever the separation. No image here resembles a real person's.

Settings:
    patients_per_class: patients P of each class.
    images_per_patient: images of each patient.
    copies: images that are stored a second time, byte for byte, as archives of real images do.
    separation: strength of the lesions; 0 makes the classes indistinguishable, 1 is easy for a
        small network on clean images.
    noise: standard deviation of the pixel noise, as a share of the grey scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from assay.data.collected import Collected, Request, new_images
from assay.foundation.errors import DataError
from assay.foundation.seeds import rng_for

Field = np.ndarray  # (H, W) float64, in units of the grey scale
Lesion = tuple[Field, Field]

HAS_OFFICIAL_SUBSETS = True
SETTINGS = {
    "patients_per_class": 25,
    "images_per_patient": 4,
    "copies": 12,
    "separation": 1.0,
    "noise": 0.03,
}

OFFICIAL = (("train", 0.6), ("val", 0.8), ("test", 1.0))  # upper ends, as shares of the patients


@dataclass(frozen=True)
class Anatomy:
    """What stays the same between the images of a patient; lengths in half images."""

    width: float  # half width of the thorax
    lung: tuple[float, float]  # half width, half height of a lung
    heart: float  # half width of the heart
    ribs: int
    rib_phase: float
    rib_slope: float
    spine: float  # half width
    exposure: float
    side: int  # where the lesion is: -1 or 1
    spot: tuple[float, float]  # where in the lung, each in [-1, 1]
    extent: float  # of the lesion, around 1
    texture: int  # seed of the lesion's texture

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Anatomy:
        """A patient at random."""
        u = rng.uniform
        return cls(
            width=u(0.80, 0.90),
            lung=(u(0.27, 0.32), u(0.55, 0.63)),
            heart=u(0.22, 0.27),
            ribs=int(rng.integers(7, 10)),
            rib_phase=u(0, 1),
            rib_slope=u(0.25, 0.45),
            spine=u(0.07, 0.09),
            exposure=u(-0.02, 0.02),
            side=int(rng.choice((-1, 1))),
            spot=(u(-0.3, 0.3), u(-0.3, 0.3)),
            extent=u(0.85, 1.15),
            texture=int(rng.integers(2**31)),
        )


@dataclass(frozen=True)
class Scene:
    """One image's geometry: pixel grid in the patient's frame, and the organs' soft shapes."""

    anatomy: Anatomy
    x: Field
    y: Field
    softness: float

    def inside(self, distance: Field, softness: float = 1.0) -> Field:
        """1 where `distance` < 0, 0 outside, with a soft edge."""
        return 1 / (1 + np.exp(np.clip(distance / (self.softness * softness), -40, 40)))

    def ellipse(self, centre: tuple[float, float], half: tuple[float, float]) -> Field:
        """Roughly the signed distance to an ellipse's edge; negative inside."""
        radius = np.hypot((self.x - centre[0]) / half[0], (self.y - centre[1]) / half[1])
        return (radius - 1) * min(half)

    def lung_distance(self, side: int) -> Field:
        """Signed distance to a lung: an ellipse whose base is cut by the diaphragm's dome."""
        half_width, half_height = self.anatomy.lung
        centre = (side * 0.40, -0.10)
        dome = 0.42 - 0.16 * np.cos(np.clip((self.x - centre[0]) * 2.6, -np.pi / 2, np.pi / 2))
        return np.maximum(self.ellipse(centre, (half_width, half_height)), self.y - dome - 0.14)

    def lung(self, side: int) -> Field:
        """A lung as a soft shape in [0, 1]."""
        return self.inside(self.lung_distance(side))

    def heart(self, factor: float = 1.0) -> Field:
        """The heart as a soft shape, its width times `factor`, growing to the left lung."""
        half = self.anatomy.heart * factor
        return self.inside(
            self.ellipse((0.10 + 0.5 * (half - self.anatomy.heart), 0.20), (half, 0.30)), 1.4
        )


def anatomy_field(scene: Scene) -> Field:
    """The grey values of a healthy thorax, in [0, 1]: dense is bright."""
    anatomy, x, y = scene.anatomy, scene.x, scene.y
    body = scene.inside(np.maximum(scene.ellipse((0, 0.25), (anatomy.width, 1.35)), -y - 0.98))
    shoulders = scene.inside(scene.ellipse((0, 1.05), (1.15, 1.75)))
    field = 0.50 * np.maximum(body, shoulders * scene.inside(-y - 0.9))
    lungs = np.maximum(scene.lung(-1), scene.lung(1))
    field = field - 0.33 * lungs
    # Each rib is an arch that falls away from the spine.
    height = (y + 0.85 - anatomy.rib_slope * x**2) * anatomy.ribs / 1.35 + anatomy.rib_phase
    ribs = np.exp(-(((height - np.rint(height)) / 0.17) ** 2))
    field = field + 0.10 * ribs * body * scene.inside(y - 0.45, 3) * scene.inside(-y - 0.8, 2)
    collar = np.exp(-(((y + 0.72 + 0.18 * np.abs(x)) / 0.045) ** 2)) * scene.inside(np.abs(x) - 0.7)
    field = field + 0.10 * collar
    field = field + 0.20 * scene.inside(np.abs(x) - anatomy.spine, 1.6) * body
    field = field + 0.22 * scene.heart() * np.maximum(lungs, 0.4)
    below = scene.inside(-(y - 0.50), 2) * body
    return np.clip(field + 0.12 * below + anatomy.exposure, 0, 1)


def _spot(scene: Scene, height: float) -> tuple[float, float]:
    """The lesion's centre, around `height` in the lung of its side."""
    across, down = scene.anatomy.spot
    half_width, half_height = scene.anatomy.lung
    return (scene.anatomy.side * (0.42 + across * half_width), height + down * half_height)


def _nothing(scene: Scene) -> Lesion:
    return np.zeros_like(scene.x), np.zeros_like(scene.x)


def _nodule(scene: Scene) -> Lesion:
    """A round, sharp, bright spot inside a lung."""
    radius = 0.15 * scene.anatomy.extent
    spot = scene.inside(scene.ellipse(_spot(scene, -0.25), (radius, radius)), 0.8)
    return 0.45 * spot, spot


def _consolidation(scene: Scene) -> Lesion:
    """A wide, ragged, cloudy opacity that stays within the lung."""
    extent = scene.anatomy.extent
    cloud = scene.inside(scene.ellipse(_spot(scene, 0.0), (0.30 * extent, 0.42 * extent)), 3)
    cloud = cloud * scene.lung(scene.anatomy.side)
    rng = np.random.default_rng(scene.anatomy.texture)
    waves = np.zeros_like(scene.x)
    for _ in range(8):
        angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
        turn = np.cos(angle) * scene.x + np.sin(angle) * scene.y
        waves += np.cos(rng.uniform(9, 20) * turn + phase)
    ragged = np.clip(0.65 + 0.25 * waves, 0.1, 1.3)
    return 0.36 * cloud * ragged, cloud


def _effusion(scene: Scene) -> Lesion:
    """Fluid that fills a lung from its base up to a level that climbs at the chest wall."""
    side, extent = scene.anatomy.side, scene.anatomy.extent
    outward = side * scene.x - 0.40
    level = 0.24 - 0.22 * extent - 0.55 * np.clip(outward + 0.12, 0, None) ** 1.5
    fluid = scene.inside(level - scene.y, 1.5) * scene.lung(side)
    return 0.38 * fluid, fluid


def _pneumothorax(scene: Scene) -> Lesion:
    """Air at the apex and the chest wall: darker than lung, behind a thin bright line."""
    side, extent = scene.anatomy.side, scene.anatomy.extent
    half_width, half_height = scene.anatomy.lung
    shrink = 1 - 0.35 * extent
    collapsed = scene.ellipse(
        (side * (0.40 - 0.30 * half_width), 0.12), (half_width * shrink, half_height * shrink)
    )
    upper = scene.lung(side) * scene.inside(scene.y - 0.25, 2)
    air = upper * (1 - scene.inside(collapsed))
    line = upper * np.exp(-((collapsed / 0.028) ** 2))
    return -0.17 * air + 0.25 * line, np.maximum(air, line)


def _cardiomegaly(scene: Scene) -> Lesion:
    """The part by which the heart is too wide."""
    excess = scene.heart(1 + 0.9 * scene.anatomy.extent) - scene.heart()
    return 0.32 * excess, excess


LESIONS: dict[str, Callable[[Scene], Lesion]] = {
    "normal": _nothing,
    "nodule": _nodule,
    "consolidation": _consolidation,
    "effusion": _effusion,
    "pneumothorax": _pneumothorax,
    "cardiomegaly": _cardiomegaly,
}
"""By class: the lesion's field at separation 1, and its region in [0, 1]."""


def render(
    anatomy: Anatomy,
    lesion: str,
    rng: np.random.Generator,
    *,
    size: tuple[int, int],
    separation: float,
    noise: float,
) -> tuple[np.ndarray, np.ndarray]:
    """One image of a patient.

    Args:
        anatomy: the patient.
        lesion: a key of :data:`LESIONS`.
        rng: draws position, breath, exposure and noise.
        size: (H, W).
        separation: strength of the lesion.
        noise: standard deviation of the pixel noise in [0, 1].

    Returns:
        The image and its mask, both (H, W) uint8; the mask is 1 inside the lesion.
    """
    height, width = size
    y, x = np.meshgrid(
        (np.arange(height) + 0.5) / height * 2 - 1,
        (np.arange(width) + 0.5) / width * 2 - 1,
        indexing="ij",
    )
    turn, breath = rng.normal(0, 0.015), 1 + rng.uniform(-0.02, 0.02)
    dx, dy = rng.uniform(-0.03, 0.03, 2)
    x, y = (
        np.cos(turn) * (x - dx) + np.sin(turn) * (y - dy),
        (np.cos(turn) * (y - dy) - np.sin(turn) * (x - dx)) * breath,
    )
    scene = Scene(anatomy, x, y, softness=1.2 / min(size))
    signal, region = LESIONS[lesion](scene)
    field = np.clip(anatomy_field(scene) + separation * signal, 0, 1)
    field = field ** rng.uniform(0.96, 1.04) * rng.uniform(0.96, 1.04)
    # Grain is stronger where little light arrived, as on film.
    grain = rng.normal(size=size) * noise * (0.6 + 0.8 * field)
    image = np.rint(np.clip(field + grain, 0, 1) * 255).astype(np.uint8)
    return image, (region > 0.5).astype(np.uint8)


def read(request: Request) -> Collected:
    """Draws the patients and renders their images, ordered by class, patient and image."""
    settings, classes = request.settings, list(request.entry["classes"])
    channels, height, width = request.entry["shape"]
    unknown = [name for name in classes if name not in LESIONS]
    if unknown or channels != 1:
        raise DataError(
            f"there is no lesion '{unknown[0]}'" if unknown else "a phantom has 1 channel",
            where=f"data set '{request.name}', key '{'classes' if unknown else 'shape'}'",
            remedy=f"known are {', '.join(LESIONS)}" if unknown else "write shape: [1, H, W]",
        )
    people, shots = settings["patients_per_class"], settings["images_per_patient"]
    pictures, masks, rows = [], [], []
    for label, name in enumerate(classes):
        for person in range(people):
            patient = f"{name}-{person:03d}"
            anatomy = Anatomy.draw(rng_for("phantom", request.seed, patient))
            official = next(part for part, end in OFFICIAL if (person + 0.5) / people < end)
            for shot in range(shots):
                image, mask = render(
                    anatomy,
                    name,
                    rng_for("phantom", request.seed, patient, shot),
                    size=(height, width),
                    separation=settings["separation"],
                    noise=settings["noise"],
                )
                pictures.append(image)
                masks.append(mask)
                file = f"{name}/{patient}-{shot}.png"
                rows.append((file, label, patient, official))
    again = rng_for("phantom", request.seed, "copies").choice(
        len(rows), size=min(settings["copies"], len(rows)), replace=False
    )
    for number in sorted(again):
        file, *rest = rows[number]
        rows.append((file.replace(".png", "-copy.png"), *rest))
        pictures.append(pictures[number])
        masks.append(masks[number])
    images = new_images(request.folder, len(rows), request.entry["shape"])
    images[:, 0] = pictures
    images.flush()
    samples = pd.DataFrame(rows, columns=["file", "label", "patient", "official"])
    return Collected(samples, classes, masks=np.stack(masks)[:, None])
