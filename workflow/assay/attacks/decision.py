"""From whatever people hand over, a module or a function, to the one form that is attacked.

A `Decision` takes images (B, C, H, W) and a generator, and returns logits (B, K). Modules and
functions of one argument become decisions here, whatever container, type or precision they return.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from assay.foundation.errors import AttackError

Decision = Callable[[Tensor, torch.Generator], Tensor]
_SOFTMAX = {torch.softmax, torch.Tensor.softmax, torch.special.softmax, nn.functional.softmax}
# Wrappers that add nothing to the function: replicas, graphs of a compiler.
_WRAPPED = {
    "DataParallel": "module", "DistributedDataParallel": "module", "OptimizedModule": "_orig_mod",
}  # fmt: skip
_GENERATOR = ("generator", "gen", "g", "rng")


@dataclass(frozen=True)
class ModuleDecision:
    """A torch module as a decision, with the weights it has now; the module is not modified.

    Parameters take part in no graph, so that a backward pass reaches the images alone. Images are
    cast to the precision of the weights.

    Attributes:
        module: in evaluation mode, with ``forward(images)`` or ``forward(images, generator)``.
        device: where it computes; None: where its weights are.
        softmax: whether the module ends in a softmax. Then its input is returned, or the logarithm
            of the probabilities where that input cannot be seen.
        episodic: whether each call uses a copy of the module, for one that changes its own weights
            or buffers, or needs gradients of its weights, while it predicts.

    Raises:
        AttackError: `module` is no module, or a part of it is in training mode, where dropout and
            batch statistics make another function of it.

    Example:
        >>> decision = ModuleDecision(nn.Flatten().eval())
        >>> decision(torch.zeros(3, 1, 2, 2), torch.Generator()).shape
        torch.Size([3, 4])
    """

    module: nn.Module
    device: torch.device | None = None
    softmax: bool = False
    episodic: bool = False
    _state: dict[str, Tensor] = field(init=False, repr=False, compare=False)
    _dtype: torch.dtype | None = field(init=False, repr=False, compare=False)
    _generator: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        module = self.module
        if not isinstance(module, nn.Module):
            raise AttackError(
                f"{_named(module)} is no torch module",
                where="module",
                remedy="pass the network itself, with its weights loaded",
            )
        while inner := _WRAPPED.get(type(module).__name__):
            module = getattr(module, inner)
        scripted = isinstance(module, torch.jit.ScriptModule)
        if not scripted and type(module).forward is nn.Module.forward:
            raise AttackError(
                f"{_named(module)} has no forward",
                where="module",
                remedy="define forward(images) -> logits; a model of the catalogue has victim()",
            )
        if any(part.training for part in module.modules()):
            raise AttackError(
                "the model is in training mode", where="module", remedy="call .eval() first"
            )
        tensors = [*module.parameters(), *module.buffers()]
        device = self.device or next((tensor.device for tensor in tensors), None)
        set_ = object.__setattr__
        set_(self, "module", module)
        set_(self, "device", device)
        set_(self, "_dtype", next((t.dtype for t in tensors if t.is_floating_point()), None))
        set_(self, "_generator", takes_generator(module.forward))
        keep = not self.episodic and not scripted
        set_(self, "_state", _frozen_state(module, device) if keep else {})

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """(B, C, H, W) images in [0, 1] to (B, K) logits."""
        if self.episodic:
            return self._returned(self._copy(), images, generator)
        if self._state:
            return self._returned(
                lambda *given: torch.func.functional_call(self.module, self._state, given),
                images,
                generator,
            )
        return self._returned(self.module, images, generator)

    def itself(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, bool]:
        """The module's output with its weights in the graph, and whether it changed any of them.

        Raises:
            Exception: whatever the module raises, or its copy.
        """
        module = self._copy()
        tensors = [*module.parameters(), *module.buffers()]
        before = [tensor.detach().clone() for tensor in tensors]
        returned = self._returned(module, images, generator)
        after = [*module.parameters(), *module.buffers()]
        same = len(before) == len(after) and all(map(torch.equal, before, after))
        return returned, not same

    def _copy(self) -> nn.Module:
        module = copy.deepcopy(self.module)
        return module if self.device is None else module.to(self.device)

    def _returned(self, function: Callable, images: Tensor, generator: torch.Generator) -> Tensor:
        given = (images.to(self._dtype or images.dtype),)
        given = (*given, generator) if self._generator else given
        if not self.softmax:
            return logits_of(function(*given))
        with _Softmax() as last:
            found = logits_of(function(*given))
        if found is last.output:
            return last.input
        return found.clamp_min(torch.finfo(found.dtype).tiny).log()


def as_decision(given: Any, where: str, device: torch.device | None = None) -> Decision:
    """`given` as a decision.

    Args:
        given: a module; a function ``images -> logits`` or ``(images, generator) -> logits``; or
            anything with such a function as its attribute ``logits``, a `View` for one.
        where: what it is called in messages.
        device: of a module; None: where its weights are.

    Raises:
        AttackError: it can be called with neither, or is a module in training mode.
    """
    if isinstance(given, nn.Module):
        try:
            return ModuleDecision(given, device)
        except AttackError as error:
            raise AttackError(error.what, where=where, remedy=error.remedy) from error
    if isinstance(given, ModuleDecision | _OfImages):
        return given
    inner = getattr(given, "logits", None)
    if callable(inner):
        return as_decision(inner, where, device)
    if not callable(given) or isinstance(given, type):
        raise AttackError(
            f"{_named(given)} is no function of images",
            where=where,
            remedy="pass a torch module, or a function (images, generator) -> logits",
        )
    return given if takes_generator(given) else _OfImages(given)


@dataclass(frozen=True)
class _OfImages:
    """A function of images alone as a decision; two of one function are equal."""

    function: Callable[[Tensor], Tensor]

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return self.function(images)


def takes_generator(function: Callable) -> bool:
    """Whether a function takes a generator beside the images.

    It does if a parameter after the first is called so, or has no default. What takes any number
    of arguments gets the generator if it is a function, and not if it is a module's ``forward``,
    which as a rule passes all of them on to a network.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a built-in, or compiled: a function of images
        return False
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return not isinstance(getattr(function, "__self__", None), nn.Module)
    others = [p for p in parameters if p.kind is not p.VAR_KEYWORD][1:]
    return any(p.name in _GENERATOR or p.default is p.empty for p in others)


def logits_of(returned: Any) -> Tensor:
    """The logits in what a model returned: a tensor, an array, or a container's field ``logits``.

    Raises:
        AttackError: it is none of these.
    """
    if isinstance(returned, Tensor):
        return returned
    if isinstance(returned, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(returned))
    inner = (
        returned.get("logits")
        if isinstance(returned, Mapping)
        else getattr(returned, "logits", None)
    )
    if inner is None and isinstance(returned, tuple | list) and len(returned) == 1:
        (inner,) = returned
    if inner is None or callable(inner):
        keys = (
            f" with the keys {', '.join(map(str, returned))}"
            if isinstance(returned, Mapping)
            else ""
        )
        size = f" of {len(returned)}" if isinstance(returned, tuple | list) else ""
        raise AttackError(
            f"the model returned {_named(returned)}{size}{keys}, not logits",
            where="argument 'model'",
            remedy="wrap the model in a module that returns the logits (B, K) alone",
        )
    return logits_of(inner)


class _Softmax(TorchFunctionMode):
    """Remembers the last softmax over classes: its input and its output."""

    def __init__(self):
        super().__init__()
        self.input: Any = None
        self.output: Any = None

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func in _SOFTMAX:
            self.input, self.output = (args or (kwargs["input"],))[0], result
        return result


def _frozen_state(module: nn.Module, device: torch.device | None) -> dict[str, Tensor]:
    """Copies of parameters and buffers: what the module writes into them reaches nobody."""
    state = {}
    with torch.inference_mode(False):
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            copied = tensor.detach().to(device).clone()
            if copied.device.type == "cpu" and copied.ndim == 4:
                # Convolutions then keep the channels innermost: measured 1.3 to 1.6 times as fast.
                # `to` sets the strides of a grey image's filters too, `contiguous` does not.
                copied = copied.to(memory_format=torch.channels_last)
            state[name] = copied
    return state


def _named(value: Any) -> str:
    kind = type(value).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"
