"""Keys of an entry of ``config/catalogue/models.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from assay.foundation.keys import ABSENT, Key, key
from assay.plan.keys.datasets import Shape
from assay.plan.keys.shared import Differences, Extends, ForDatasets

_NAME = key(
    "flip: mirror left to right with probability 0.5; shift: move by up to a number of pixels or a "
    "share of the sides; noise: add Gaussian noise and clip to [0, 1]"
)

file_key = key  # where a field is called key itself


@dataclass(frozen=True, kw_only=True)
class Flip:
    """Mirrors left to right."""

    name: Annotated[Literal["flip"], _NAME]


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Moves the image."""

    ONE_OF: ClassVar = (("share", "pixels"),)

    name: Annotated[Literal["shift"], _NAME]
    pixels: Annotated[int, key("largest shift in both directions, at least 1", ge=1)] = ABSENT
    share: Annotated[
        float,
        key("largest shift as a share of each side, in (0, 1], instead of pixels", gt=0, le=1),
    ] = ABSENT
    fill: Annotated[
        Literal["black", "edge"],
        key("values of the pixels that a shift brings in from outside the image; default black"),
    ] = ABSENT


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Adds Gaussian noise."""

    name: Annotated[Literal["noise"], _NAME]
    deviation: Annotated[float, key("standard deviation of the noise, for images in [0, 1]", gt=0)]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What training minimises."""

    OPEN: ClassVar = True

    name: Annotated[
        str,
        key(
            "a file of assay.training.objectives; standard: mean of the losses of a batch; elbo: "
            "their sum; madry: mean on perturbed images; trades: clean cross-entropy and the "
            "divergence on perturbed images"
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """An optimiser of torch."""

    OPEN: ClassVar = True

    name: Annotated[str, key("a class of torch.optim; default Adam")]
    lr: Annotated[float, key("learning rate; default 0.003", gt=0)]
    weight_decay: Annotated[float, key("L2 penalty; default that of the class", ge=0)] = ABSENT
    groups: Annotated[
        dict[str, dict],
        key(
            "for objectives with several groups of parameters: name of the group, then what is "
            "different for its optimiser"
        ),
    ] = ABSENT


@dataclass(frozen=True, kw_only=True)
class Scheduler:
    """A learning-rate scheduler of torch."""

    OPEN: ClassVar = True

    name: Annotated[str, key("a class of torch.optim.lr_scheduler; default StepLR")]
    interval: Annotated[
        Literal["epoch", "step"],
        key("after what the rate changes; default step for OneCycleLR and CyclicLR, else epoch"),
    ] = ABSENT
    warmup: Annotated[
        int,
        key(
            "epochs or steps (see interval) in which the rate first rises linearly; default 0", ge=0
        ),
    ] = ABSENT
    warmup_start: Annotated[
        float, key("factor of the rate at the beginning of the warm-up; default 0.01", gt=0, le=1)
    ] = ABSENT


@dataclass(frozen=True, kw_only=True)
class Adversary:
    """The attack of adversarial training."""

    norm: Annotated[Literal["linf", "l2"], key("norm that epsilon bounds")]
    epsilon: Annotated[float, key("radius of the ball, for images in [0, 1]", gt=0)]
    threat: Annotated[
        float,
        key(
            "instead of `epsilon`: the largest radius that a data set has in this norm "
            "(`threats`), and this one where it has none",
            gt=0,
        ),
    ] = ABSENT
    steps: Annotated[int, key("gradient steps per batch; default 10", ge=1)] = ABSENT
    relative_step: Annotated[
        float,
        key("length of all steps together, as a multiple of the radius; default 2.5", gt=0),
    ] = ABSENT


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a network is trained."""

    objective: Annotated[
        str | Objective,
        key(
            "what is minimised: a name, or a mapping of the name and the objective's settings, for "
            "example {name: trades, beta: 6}; default standard, or madry with an adversary"
        ),
    ] = ABSENT
    epochs: Annotated[int, key("passes over the training images, at least 1", ge=1)] = 15
    patience: Annotated[
        int | None,
        key(
            "number of epochs without a better validation accuracy after which training stops; "
            "null: no early stop",
            ge=1,
        ),
    ] = None
    batch_size: Annotated[int, key("images per step, at least 1", ge=1)] = 64
    optimizer: Annotated[
        Optimizer,
        key(
            "torch's optimiser with its own keywords, for example {name: SGD, lr: 0.1, momentum: "
            "0.9}; default {name: Adam, lr: 0.003, weight_decay: 0}"
        ),
    ] = ABSENT
    scheduler: Annotated[
        Scheduler | None,
        key(
            "torch's scheduler with its own keywords, for example {name: MultiStepLR, milestones: "
            "[50, 75]}; null: constant learning rate; default {name: StepLR, step_size: 10, "
            "gamma: 0.1}"
        ),
    ] = ABSENT
    ema: Annotated[
        float | None,
        key(
            "decay of an exponential moving average of the weights, in (0, 1): the average is "
            "validated and kept; null: none",
            gt=0,
            lt=1,
        ),
    ] = None
    clip_norm: Annotated[float | None, key("largest L2 norm of the gradient; null: any", gt=0)] = (
        None
    )
    mixed_precision: Annotated[
        bool,
        key("whether steps compute in half precision (float16 on a GPU, bfloat16 on a CPU)"),
    ] = False
    augment: Annotated[
        list[
            Annotated[
                Flip | Shift | Noise,
                key("a name and its arguments, for example {name: shift, pixels: 4}"),
            ]
        ],
        key("augmentations of assay.training.augment, in this order"),
    ] = field(default_factory=list)
    adversary: Annotated[
        Adversary | None,
        key("the inner attack of the objectives madry and trades; null: none"),
    ] = None
    phases: Annotated[
        list[dict],
        key(
            "trainings one after the other, each from the weights of the one before: what is "
            "different from the keys beside it (epochs, objective, optimizer, ...)"
        ),
    ] = field(default_factory=list)
    samples: Annotated[int | None, key("largest number of training images; null: all", ge=1)] = None
    validation_samples: Annotated[
        int | None, key("largest number of validation images; null: all", ge=0)
    ] = None


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images that a network takes."""

    smallest: Annotated[int, key("smallest height and width, in pixels", ge=1)] = ABSENT
    shapes: Annotated[
        list[Annotated[Shape, Key(least=3, most=3)]],
        key("[channels, height, width] of all images that it takes", least=1),
    ] = ABSENT


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Trained weights that replace training."""

    ONE_OF: ClassVar = (("folder", "file"),)

    format: Annotated[
        Literal["state_dict", "abs_bethgelab"],
        key("state_dict: names and tensors of the network in one file; abs_bethgelab: a folder"),
    ] = "state_dict"
    file: Annotated[
        str,
        key(
            "file of a state dict, relative to the working folder: safetensors, or what torch.save "
            "wrote, read with weights_only=True"
        ),
    ] = ABSENT
    key: Annotated[
        str,
        file_key("key of the file that holds the state dict, where it holds more, e.g. state_dict"),
    ] = ABSENT
    prefix: Annotated[
        str, key("beginning of each name in the file that the network's names lack, e.g. module.")
    ] = ABSENT
    sha256: Annotated[
        str,
        key(
            "SHA-256 of the file, which is then verified",
            pattern="^[0-9a-fA-F]{64}$",
            examples=("64 hexadecimal characters",),
        ),
    ] = ABSENT
    folder: Annotated[str, key("folder of the files, absolute or within data_mirror")] = ABSENT


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """What a network from outside subtracts from the channels of an image, and divides them by."""

    mean: Annotated[
        list[float], key("mean of each channel, or of all; images are in [0, 1]", least=1)
    ]
    std: Annotated[list[float], key("standard deviation of each channel, or of all", least=1)]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A classifier."""

    title: Annotated[str, key("name in reports")]
    family: Annotated[
        Literal["generative", "discriminative"],
        key("modelled distribution: p(x, y) or p(y | x)"),
    ]
    implementation: Annotated[
        str,
        key(
            "the class, 'module:Name': of this package, or of any module that can be imported, the "
            "working folder first; this key or one of the next four",
            pattern="^[A-Za-z_][a-zA-Z0-9_.]*:[A-Za-z_0-9.]+$",
            examples=("assay.models.resnet:ResNet18", "my_package.defence:Net"),
        ),
    ] = ABSENT
    torchscript: Annotated[
        str,
        key("a trained network: a file that torch.jit.save wrote, relative to the working folder"),
    ] = ABSENT
    exported: Annotated[
        str, key("a trained network: a file that torch.export.save wrote (.pt2)")
    ] = ABSENT
    torchvision: Annotated[
        str, key("a network of torchvision by its name, such as resnet18; needs weights")
    ] = ABSENT
    timm: Annotated[
        str, key("a network of timm by its name, if timm is installed; needs weights")
    ] = ABSENT
    normalisation: Annotated[
        Normalisation,
        key("of the images of a network from outside, inside the model; default: none"),
    ] = ABSENT
    input_size: Annotated[
        int | list[int],
        key("side in pixels, or [height, width], to which a model from outside resizes its images"),
    ] = ABSENT
    output: Annotated[
        Literal["logits", "probabilities"],
        key("what a network from outside returns; default logits"),
    ] = ABSENT
    trained: Annotated[
        bool, key("whether assay trains the network; `training: none` sets it to false")
    ] = ABSENT
    no_gradient: Annotated[
        str, key("why no view of the model has a gradient; without it that is an error")
    ] = ABSENT
    extends: Extends = ABSENT
    images: Annotated[
        Images | None,
        key("images that the network takes, checked before any training; null: any"),
    ] = None
    reconstructions: Annotated[
        bool | None,
        key(
            "whether the network makes a reconstruction for each class, which some attacks need; "
            "null: not known"
        ),
    ] = None
    shares_weights_with: Annotated[
        str | None, key("another entry whose trained weights this one shares")
    ] = None
    weights: Annotated[
        Weights | None, key("trained weights that replace training; null: train")
    ] = None
    init_from: Annotated[
        str | None,
        key("another entry with the same network, whose trained weights initialise the training"),
    ] = None
    needs: Annotated[
        dict[str, str],
        key(
            "trained models that the class or the objective takes: name of the argument, then "
            "another entry of any class, for example {base: cnn}; each is trained first, on the "
            "same split"
        ),
    ] = field(default_factory=dict)
    settings: Annotated[dict, key("keyword arguments of the class")] = field(default_factory=dict)
    training: Annotated[
        Training, key("training settings, or the word none: the network stays as it is")
    ] = field(default_factory=Training)
    for_datasets: ForDatasets = field(default_factory=dict)
    source: Annotated[str, key("publication or code of the model")]
    differences: Differences = field(default_factory=list)
