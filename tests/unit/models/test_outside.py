"""Networks from outside: what they compute stays, and what cannot be used is named."""

import sys
import textwrap

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from assay.foundation.errors import ModelError
from assay.models.base import load_weights, save_weights
from assay.models.importers import import_weights
from assay.models.outside import Outside, network

SHAPE, CLASSES = (3, 16, 16), 4


class Small(nn.Module):
    def __init__(self, classes=CLASSES, width=8):
        super().__init__()
        self.convolution = nn.Conv2d(3, width, 3, stride=2)
        self.norm = nn.BatchNorm2d(width)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(width * 49, classes)

    def forward(self, x):
        x = self.drop(self.norm(self.convolution(x)).relu())
        return self.head(x.view(x.shape[0], -1))


@pytest.fixture
def small():
    torch.manual_seed(0)
    model = Small().eval()
    model.norm.running_mean.normal_()
    return model


@pytest.fixture
def images():
    return torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    # Modules of this folder would answer for those of the next.
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(f"{tmp_path}/"):
            del sys.modules[name]


def made(**options):
    return network(classes=CLASSES, shape=SHAPE, **options)


def write_module(name, text):
    from pathlib import Path

    Path(f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    sys.modules.pop(name, None)


def export(model, images, file, batch=None):
    dynamic = None if batch else ({0: torch.export.Dim("batch", min=1, max=4096)},)
    program = torch.export.export(model, (images[: batch or 5],), dynamic_shapes=dynamic)
    torch.export.save(program, file)


def same(model, small, images):
    victim = model.victim("cpu")
    torch.testing.assert_close(victim.logits(images, torch.Generator()), small(images))
    labels = torch.zeros(len(images), dtype=torch.int64)
    _, _, gradient = victim.gradient(
        victim.views["model"], images, labels, lambda z, y: z[:, 0], torch.Generator()
    )
    leaf = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(small(leaf)[:, 0].sum(), leaf)
    torch.testing.assert_close(gradient, expected)


def test_torchscript_computes_what_the_network_computes(small, images):
    torch.jit.save(torch.jit.trace(small, images), "small.pt")
    model = made(torchscript="small.pt")
    same(model, small, images)
    assert model.facts()["pretrained_reason"] == "as in small.pt"


@pytest.mark.parametrize("batch", [None, 2])
def test_an_exported_program_takes_any_number_of_images(small, images, batch):
    export(small, images, "small.pt2", batch)
    model = made(exported="small.pt2")
    same(model, small, images)
    assert model.batch == batch


def test_an_exported_program_of_another_size_is_refused_with_the_size_it_takes(small, images):
    export(small, images, "small.pt2")
    with pytest.raises(ModelError, match=r"exported: .*16 × 16 pixels, not 28 × 28.*\[16, 16\]"):
        network(classes=4, shape=(3, 28, 28), exported="small.pt2")
    resized = network(classes=4, shape=(3, 28, 28), exported="small.pt2", input_size=16)
    assert resized.logits(torch.rand(2, 3, 28, 28)).shape == (2, 4)


def test_a_class_beside_the_configuration_is_imported_and_told_the_number_of_classes(images):
    write_module("my_defence", """
        from torch import nn
        class Net(nn.Module):
            def __init__(self, num_classes, scale=1.0):
                super().__init__()
                self.scale, self.layer = scale, nn.Linear(768, num_classes)
            def forward(self, x):
                return {"logits": self.layer(x.flatten(1)) * self.scale}
        def function(shape):
            assert shape == (3, 16, 16)
            return Net(4)
        finished = Net(4)
    """)  # fmt: skip
    model = made(implementation="my_defence:Net", arguments={"scale": 2.0})
    expected = model.network.layer(images.flatten(1)) * 2
    torch.testing.assert_close(model.logits(images), expected)
    for name in ("function", "finished"):
        assert made(implementation=f"my_defence:{name}").logits(images).shape == (5, 4)
    with pytest.raises(ModelError, match=r"settings: .*finished module"):
        made(implementation="my_defence:finished", arguments={"scale": 2.0})


def test_a_classifier_from_outside_is_used_as_it_is(images):
    write_module("my_classifier", """
        from torch import nn
        from assay.models.base import Classifier
        class Own(Classifier):
            def __init__(self, *, classes, shape, width=3):
                super().__init__(classes=classes, shape=shape)
                self.layer = nn.Linear(768, classes)
            def features(self, images):
                return images.flatten(1)
            def logits(self, images, generator=None):
                return self.layer(self.features(images))
    """)  # fmt: skip
    model = made(implementation="my_classifier:Own", arguments={"width": 2})
    assert type(model).__name__ == "Own"
    assert any(item.requires_grad for item in model.parameters())
    with pytest.raises(ModelError, match=r"input_size: .*prepares its images itself"):
        made(implementation="my_classifier:Own", input_size=8)


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("import nowhere", "x", "there is no module 'nowhere'"),
        ("x = 3", "y", "module 'broken' has no 'y'"),
        ("x = 3", "x", "int, neither a class nor a function"),
        ("def x(): return 3", "x", "returns int, not a module"),
        ("def x():\n    return {}['key']", "x", r"cannot be built \(KeyError: 'key'; broken.py, "
         r"line 2\)"),
        ("1 / 0", "x", r"cannot be imported \(ZeroDivisionError: .*broken.py, line 1"),
    ],
)  # fmt: skip
def test_code_that_cannot_be_used_is_reported_in_one_line(text, name, message):
    write_module("broken", text)
    with pytest.raises(ModelError, match=f"implementation: .*{message}"):
        made(implementation=f"broken:{name}")


def test_a_failure_within_torch_is_reported_with_the_line_that_called_it(images):
    write_module("unfit", """
        from torch import nn
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(5, 4)
            def forward(self, x):
                return self.layer(x.flatten(1))
    """)  # fmt: skip
    with pytest.raises(ModelError, match=r"fails on images of this shape .*unfit.py, line 8\)"):
        made(implementation="unfit:Net").logits(images)


def test_images_are_resized_repeated_and_normalised_inside_the_model():
    seen = []

    class Watch(nn.Module):
        def forward(self, x):
            seen.append(x)
            return x.flatten(1)[:, :2]

    mean, std = (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)
    model = Outside(Watch(), classes=2, shape=(1, 8, 8), input_size=4,
                    normalisation={"mean": mean, "std": std})  # fmt: skip
    model.logits(torch.full((2, 1, 8, 8), 0.6))
    assert seen[-1].shape == (2, 3, 4, 4)
    expected = [(0.6 - m) / s for m, s in zip(mean, std, strict=True)]
    np.testing.assert_allclose(seen[-1][0, :, 0, 0], expected, rtol=1e-6)


def test_impossible_normalisations_are_refused():
    for shape, given, message in (
        ((2, 4, 4), {"mean": [0.1] * 3, "std": [1.0] * 3}, "have 2 channels, and .* takes 3"),
        ((3, 4, 4), {"mean": [0.1] * 3, "std": [1.0]}, "3 means for 1 deviations"),
        ((3, 4, 4), {"mean": 0.1, "std": 0.0}, "not above 0"),
    ):
        with pytest.raises(ModelError, match=f"normalisation.*{message}"):
            Outside(nn.Flatten(), classes=2, shape=shape, normalisation=given)


def test_probabilities_become_logits_with_the_same_softmax(small, images):
    model = Outside(nn.Sequential(small, nn.Softmax(1)), classes=4, shape=SHAPE,
                    output="probabilities")  # fmt: skip
    torch.testing.assert_close(model.logits(images).softmax(1), small(images).softmax(1))


def test_randomness_is_measured_and_follows_the_generator(images):
    class Noisy(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :4] + torch.rand(len(x), 4)

    model = Outside(Noisy(), classes=4, shape=SHAPE)
    assert model.stochastic
    assert list(model.views()) == ["expectation"]
    state = torch.random.get_rng_state()
    first, again, other = (
        model.logits(images, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_network_stays_in_evaluation_mode_whatever_is_asked(small, images):
    model = Outside(small, classes=4, shape=SHAPE)
    expected = model.logits(images)
    assert torch.equal(model.train().logits(images), expected)
    assert not model.training
    assert model.features(images).shape == (5, 8 * 49)


def test_dropout_that_a_network_keeps_for_its_decisions_stays_on(images):
    class Bayesian(Small):
        def train(self, mode=True):
            super().train(mode)
            self.drop.train()
            return self

    model = Outside(Bayesian(), classes=4, shape=SHAPE)
    assert model.stochastic
    assert not model.network.norm.training


def test_a_network_that_contains_an_exported_program_is_evaluated(small, images):
    export(small, images, "small.pt2")

    class Holds(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.inner = nn.Dropout(0.5), torch.export.load("small.pt2").module()

        def forward(self, x):
            return self.inner(self.drop(x))

    same(Outside(Holds(), classes=4, shape=SHAPE), small, images)


def test_a_network_without_an_evaluation_mode_is_named_with_its_line():
    class Never(nn.Flatten):
        def train(self, mode=True):
            raise NotImplementedError("no modes here")

    message = r"cannot be put into evaluation mode \(NotImplementedError: no modes.*test_outside.py"
    with pytest.raises(ModelError, match=message):
        Outside(Never(), classes=4, shape=SHAPE)


def test_a_network_of_half_precision_gives_features_and_logits_in_single(small, images):
    model = Outside(small.bfloat16(), classes=4, shape=SHAPE)
    assert model.features(images).dtype == model.logits(images).dtype == torch.float32


def test_a_state_dict_is_read_in_each_form_and_kept_with_the_model(small, images):
    state = {name: value + 0.5 for name, value in small.state_dict().items()}
    save_file(state, "plain.safetensors")
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, "deep.pth")
    for options in (
        {"file": "plain.safetensors"},
        {"file": "deep.pth", "key": "state_dict", "prefix": "module."},
    ):
        model = Outside(Small(), classes=4, shape=SHAPE)
        import_weights(model, "state_dict", **options)
        torch.testing.assert_close(model.network.head.bias, state["head.bias"])
        assert options["file"] in model.facts()["pretrained_reason"]
    save_weights(model, "kept.safetensors")
    again = Outside(Small(), classes=4, shape=SHAPE)
    load_weights(again, "kept.safetensors")
    assert torch.equal(again.logits(images), model.logits(images))


def test_other_state_dicts_are_refused_with_what_to_write(small):
    state = small.state_dict()
    torch.save({"model": state}, "deep.pth")
    torch.save({f"net.{name}": value for name, value in state.items()}, "prefixed.pth")
    save_file(Small(classes=7).state_dict(), "seven.safetensors")
    for options, message in (
        ({"file": "nowhere.pth"}, "weights.file: there is no file 'nowhere.pth'"),
        ({"file": "deep.pth"}, "write weights.key: model"),
        ({"file": "deep.pth", "key": "modle"}, "did you mean 'model'"),
        ({"file": "prefixed.pth"}, "write weights.prefix: net."),
        ({"file": "seven.safetensors"}, r"'head.weight' has shape \(7, 392\), .*\(4, 392\)"),
        ({"file": "deep.pth", "sha256": "0" * 64}, "weights.sha256: the SHA-256 of 'deep.pth' is"),
    ):
        with pytest.raises(ModelError, match=message):
            import_weights(Outside(Small(), classes=4, shape=SHAPE), "state_dict", **options)


@pytest.mark.parametrize("kind", ["torchscript", "exported"])
def test_files_that_hold_no_network_are_refused(kind, small):
    torch.save(small.state_dict(), "state.pth")
    with pytest.raises(ModelError, match=f"{kind}: 'state.pth' holds no"):
        made(**{kind: "state.pth"})
    with pytest.raises(ModelError, match=f"{kind}: there is no file 'nowhere'"):
        made(**{kind: "nowhere"})


def test_networks_of_torchvision_and_timm_take_grey_images():
    for options in (
        {"torchvision": "squeezenet1_1", "input_size": 32},
        {"timm": "test_vit", "arguments": {"img_size": 32}, "input_size": 32},
    ):
        model = network(classes=5, shape=(1, 20, 20), **options)
        assert model.logits(torch.rand(2, 1, 20, 20)).shape == (2, 5)
        assert not model.stochastic


def test_an_unknown_name_of_a_library_is_reported_with_the_key():
    for library in ("torchvision", "timm"):
        with pytest.raises(ModelError, match=rf"{library}: cannot build 'resnet_18x'"):
            made(**{library: "resnet_18x"})


def test_without_timm_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match="timm: the package timm is not installed; pip install"):
        made(timm="resnet18")
