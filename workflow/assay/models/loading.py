"""Reads networks that others wrote: from a module, a file, torchvision or timm."""

from __future__ import annotations

import contextlib
import copy
import inspect
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import nn

from assay.foundation.errors import AssayError, ConfigError, ModelError
from assay.foundation.outside_code import is_installed
from assay.foundation.registry import import_from_here, load
from assay.foundation.resources import PACKAGE
from assay.models.base import Classifier

# Arguments of a class or function from outside that get the number of classes if it has them.
CLASSES = ("classes", "num_classes", "n_classes")


def built(
    specification: str,
    arguments: Mapping[str, Any],
    *,
    classes: int,
    shape: tuple[int, int, int],
    needs: Mapping[str, Classifier],
) -> nn.Module:
    """The module that a class or a function of ``module:name`` makes, or that it is.

    Args:
        specification: ``module:name``.
        arguments: keywords of the class or function.
        classes, shape, needs: given to a class or function that has such an argument, or one of a
            role's name.

    Raises:
        ModelError: it cannot be imported or built, or is no module.
    """
    import_from_here()
    try:
        with from_outside(f"'{specification}' cannot be imported"):
            found = load(specification)
    except ConfigError as error:
        raise ModelError(error.what, where="implementation", remedy=error.remedy) from error
    if isinstance(found, nn.Module):
        if arguments:
            raise ModelError(
                f"'{specification}' is a finished module, which takes no settings",
                where="settings",
                remedy="name its class, or take the settings out",
            )
        return copy.deepcopy(found)
    if not callable(found):
        raise ModelError(
            f"'{specification}' is {type(found).__name__}, neither a class nor a function",
            where="implementation",
            remedy="name a torch.nn.Module, or a function that returns one",
        )
    known = _parameters(found)
    given: dict[str, Any] = {role: model for role, model in needs.items() if role in known}
    if isinstance(found, type) and issubclass(found, Classifier):
        given |= {"classes": classes, "shape": shape}
    else:
        given |= {name: classes for name in CLASSES if name in known}
        given |= {"shape": shape} if "shape" in known else {}
    with from_outside(f"'{specification}' cannot be built"):
        made = found(**{**given, **arguments})
    if not isinstance(made, nn.Module):
        raise ModelError(
            f"'{specification}' returns {type(made).__name__}, not a module",
            where="implementation",
            remedy="name a torch.nn.Module, or a function that returns one",
        )
    return made


def _parameters(function: Callable) -> Sequence[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # compiled code has no signature
        return []


@contextlib.contextmanager
def from_outside(what: str, where: str = "implementation") -> Iterator[None]:
    """Reports what foreign code raises in one line, with the line of that code."""
    try:
        yield
    except AssayError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        # TorchScript's own traceback ends with what is wrong.
        text = lines[-1 if "TorchScript interpreter" in lines[0] else 0]
        line = _last_line(error.__traceback__)
        raise ModelError(
            f"{what} ({type(error).__name__}: {text}{f'; {line}' if line else ''})", where=where
        ) from error


def _last_line(found: TracebackType | None) -> str:
    """File and line of the code from outside that failed; empty if none took part.

    A line of the user's counts before those of torch and other libraries that it called.
    """
    frames = [frame for frame in traceback.extract_tb(found) if _is_foreign(frame.filename)]
    own = [frame for frame in frames if not is_installed(Path(frame.filename))]
    frame = next(reversed(own or frames), None)
    return f"{Path(frame.filename).name}, line {frame.lineno}" if frame else ""


def _is_foreign(file: str) -> bool:
    return not Path(file).is_relative_to(PACKAGE)


def _file(given: str, where: str) -> Path:
    path = Path(given).expanduser()
    if not path.is_file():
        raise ModelError(
            f"there is no file '{given}'",
            where=where,
            remedy="paths are relative to the working folder",
        )
    return path


def from_torchscript(given: str) -> nn.Module:
    """The network of a file, relative to the working folder.

    Raises:
        ModelError: it is not there, or holds no TorchScript.
    """
    path = _file(given, "torchscript")
    with warnings.catch_warnings():
        # Files of TorchScript remain, although torch advises to write no new ones.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return torch.jit.load(path, map_location="cpu")
        except Exception as error:  # torch reports damage by a dozen types
            raise ModelError(
                f"'{given}' holds no TorchScript",
                where="torchscript",
                remedy="write it with torch.jit.save; a state dict belongs under 'weights'",
            ) from error


def from_exported(given: str, size: tuple[int, int]) -> tuple[nn.Module, int | None]:
    """The program of a file as a module, and the batch that it was exported for, if only one.

    Args:
        given: the file, relative to the working folder.
        size: (H, W) of the images that the program will be given.

    Raises:
        ModelError: it holds no program, or one of other images.
    """
    path = _file(given, "exported")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.load(path)
        except Exception as error:
            raise ModelError(
                f"'{given}' holds no exported program",
                where="exported",
                remedy="write it with torch.export.save, by this version of torch or an older one",
            ) from error
        module = program.module()
    names = program.graph_signature.user_inputs
    wanted = [
        node.meta["val"].shape
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in names and hasattr(node.meta["val"], "shape")
    ]
    if len(wanted) != 1 or len(wanted[0]) != 4:
        raise ModelError(
            f"'{given}' takes {len(names)} inputs, not one batch of images (B, C, H, W)",
            where="exported",
            remedy="export the network with one argument",
        )
    batch, *sides = (side if isinstance(side, int) else None for side in wanted[0])
    if any(side not in (None, own) for side, own in zip(sides[1:], size, strict=True)):
        raise ModelError(
            f"'{given}' takes images of {sides[1]} × {sides[2]} pixels, not {size[0]} × {size[1]}",
            where="exported",
            remedy=f"write input_size: [{sides[1]}, {sides[2]}]",
        )
    return module, batch


def from_torchvision(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """A network of torchvision by its name and keywords, with random weights.

    Raises:
        ModelError: torchvision has none of that name, or refuses a keyword.
    """
    from torchvision import models

    with warnings.catch_warnings(), from_outside(f"cannot build '{name}'", "torchvision"):
        warnings.simplefilter("ignore", FutureWarning)  # of slow random weights
        return models.get_model(name, weights=None, **arguments)


def from_timm(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """A network of timm by its name and keywords, with random weights.

    Raises:
        ModelError: timm is not installed, has none of that name, or refuses a keyword.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ModelError(
            "the package timm is not installed", where="timm", remedy="pip install timm"
        ) from error
    with from_outside(f"cannot build '{name}'", "timm"):
        return timm.create_model(name, pretrained=False, **arguments)
