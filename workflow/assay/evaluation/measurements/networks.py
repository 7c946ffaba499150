"""Networks that a measurement looks at images with, read from files that the user names.

Nothing is downloaded, and nothing is unpickled but tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from assay.foundation.errors import AssayError, MeasurementError
from assay.foundation.registry import load
from assay.models.base import Classifier
from assay.models.published import read_published


def read_state(path: Path | str, setting: str) -> dict[str, Tensor]:
    """Named tensors from a file of safetensors, or from one that ``torch.save`` wrote.

    Args:
        path: of the file; its suffix ``.safetensors`` says which.
        setting: the setting that names it, for errors.

    Raises:
        MeasurementError: the file is missing or damaged, or holds more than tensors.
    """
    path = _existing(path, setting)
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise MeasurementError(
                f"is no file of safetensors ({error})",
                where=path,
                remedy=f"name another file in settings.{setting}",
            ) from error
    try:
        return read_published(path, f"name another file in settings.{setting}")
    except AssayError as error:
        raise MeasurementError(error.what, where=error.where, remedy=error.remedy) from error


def read_network(path: Path | str, setting: str, architecture: str | None = None) -> nn.Module:
    """A network in evaluation mode, frozen.

    Args:
        path: a TorchScript file; or, with `architecture`, its weights.
        setting: the setting that names the file, for errors.
        architecture: ``module:Name`` of what builds the network, called without arguments; None for
            TorchScript.

    Raises:
        MeasurementError: the file is missing, or is not what it must be.
        ConfigError: there is no such architecture.
    """
    if architecture is None:
        path = _existing(path, setting)
        try:
            network = torch.jit.load(str(path), map_location="cpu")
        except (RuntimeError, ValueError) as error:
            raise MeasurementError(
                "is no TorchScript file",
                where=path,
                remedy="write it with torch.jit.save, or name the network that the weights are of "
                "in settings.architecture",
            ) from error
    else:
        network, state = load(architecture)(), read_state(path, setting)
        fill(network, state, path, setting)
    for part in network.parameters():  # TorchScript has no requires_grad_ for all
        part.requires_grad_(False)
    return network.eval()


def fill(
    network: nn.Module,
    state: Mapping[str, Tensor],
    path: Path | str,
    setting: str,
    names: Mapping[str, str] | None = None,
) -> None:
    """Puts named tensors into a network.

    Args:
        network: whose weights they are; what it has and they lack is an error, not the reverse.
        state: tensors by name.
        path: the file that they come from, for errors.
        setting: the setting that names the file, for errors.
        names: the name in the file of each of the network's tensors; None where they are equal.

    Raises:
        MeasurementError: a tensor is missing, or has another shape.
    """
    own = network.state_dict()
    names = names or {name: name for name in own}
    wrong = [
        f"it has no '{name}'"
        if name not in state
        else f"'{name}' has shape {tuple(state[name].shape)} instead of {tuple(own[key].shape)}"
        for key, name in names.items()
        if name not in state or state[name].shape != own[key].shape
    ]
    if wrong:
        more = f", and {len(wrong) - 1} more" if wrong[1:] else ""
        raise MeasurementError(
            f"the weights are of another network ({wrong[0]}{more})",
            where=path,
            remedy=f"name a file of {type(network).__name__} in settings.{setting}",
        )
    network.load_state_dict({key: state[name] for key, name in names.items()})


def as_rgb(images: Tensor, side: int | None) -> Tensor:
    """Images as networks for photographs take them.

    Args:
        images: (B, C, H, W) in [0, 1], of one channel or of three.
        side: height and width to which they are resized; None keeps their size.

    Returns:
        (B, 3, H, W) or (B, 3, side, side) in [0, 1]; a grey image has three equal channels.

    Raises:
        MeasurementError: they have another number of channels.
    """
    if images.shape[1] not in (1, 3):
        raise MeasurementError(
            f"images of {images.shape[1]} channels are neither grey nor RGB",
            where="measurement",
            remedy="measure models of images with one or three channels",
        )
    images = images.expand(-1, 3, -1, -1)
    if side is None or tuple(images.shape[2:]) == (side, side):
        return images
    size = (side, side)
    return functional.interpolate(images, size, mode="bilinear", antialias=True).clamp(0, 1)


def best_reconstructions(
    model: Classifier, images: Tensor, generator: torch.Generator | None
) -> Tensor:
    """The reconstruction of each image by the class that explains it best.

    Args:
        model: with a reconstruction per class.
        images: (B, C, H, W) in [0, 1].
        generator: of the noise of a randomised search.

    Returns:
        (B, C, H, W) in [0, 1].

    Raises:
        ModelError: the model has no reconstruction per class.
    """
    made, likely = model.explain(images, generator)
    rows = torch.arange(len(images), device=images.device)
    return made[rows, likely.argmax(dim=1)].clamp(0, 1)


def _existing(path: Path | str, setting: str) -> Path:
    path = Path(path).expanduser()
    if not path.is_file():
        raise MeasurementError(
            "there is no such file",
            where=path,
            remedy=f"name the file in settings.{setting}, absolute or below the working folder or "
            "data_mirror",
        )
    return path
