"""Foreign weights: their layout is read tensor by tensor, and damage is named."""

from pathlib import Path

import pytest
import torch
from torch import nn

from assay.foundation.errors import ModelError
from assay.models.importers import import_weights
from assay.models.synthesis import AnalysisBySynthesis

SETTINGS = {
    "adversarial": False, "discriminative": False, "variational": False,
    "layout": "abs_bethgelab", "candidates": 20, "start_at_encoder": False, "steps": 2,
}  # fmt: skip
CLASSES = 3


class Stack(nn.Sequential):
    """Convolutions ``conv_i``, with ``bn_i`` and ELU behind all but the last."""

    def __init__(self, kind, widths, kernels):
        super().__init__()
        for i, (kernel, stride) in enumerate(zip(kernels, (1, 2, 2, 1), strict=True)):
            self.add_module(f"conv_{i}", kind(widths[i], widths[i + 1], kernel, stride=stride))
            if i < 3:
                self.add_module(f"bn_{i}", nn.BatchNorm2d(widths[i + 1]))
                self.add_module(f"nl_{i}", nn.ELU())


class Autoencoder(nn.Module):
    """One class's network, laid out as the public files are."""

    def __init__(self):
        super().__init__()
        self.Encoder = Stack(nn.Conv2d, (1, 32, 32, 64, 16), (5, 4, 3, 5))
        self.Decoder = Stack(nn.ConvTranspose2d, (8, 32, 16, 16, 1), (4, 5, 5, 4))


@pytest.fixture
def published(tmp_path):
    """Three autoencoders with distinct weights and statistics, and their files."""
    torch.manual_seed(0)
    networks = []
    for k in range(CLASSES):
        network = Autoencoder().eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2.0)
                nn.init.normal_(module.weight, 1.0)
        # torch 0.4 knew no num_batches_tracked.
        state = {k: v for k, v in network.state_dict().items() if "tracked" not in k}
        torch.save(state, tmp_path / f"ABS_{k}.net")
        networks.append(network)
    return networks, tmp_path


def model(**changes):
    return AnalysisBySynthesis(
        **{"classes": CLASSES, "shape": (1, 28, 28), **SETTINGS, **changes}
    ).eval()


def test_every_class_computes_what_its_published_network_computes(published):
    networks, folder = published
    ours = model()
    import_weights(ours, "abs_bethgelab", folder=folder)
    images, codes = torch.rand(4, 1, 28, 28), torch.randn(4, CLASSES, 8)
    with torch.no_grad():
        mean, log_variance = ours.encoders(images[:, None].expand(-1, CLASSES, -1, -1, -1))
        made = ours.decoders(codes)
        for k, network in enumerate(networks):
            theirs = network.Encoder(images)[:, :, 0, 0]
            assert torch.allclose(mean[:, k], theirs[:, :8], atol=1e-5)
            assert torch.allclose(log_variance[:, k], theirs[:, 8:], atol=1e-5)
            image = torch.sigmoid(network.Decoder(codes[:, k, :, None, None]))
            assert torch.allclose(made[:, k], image, atol=1e-5)


def test_a_folder_may_lie_in_the_mirror(published):
    _, folder = published
    import_weights(model(), "abs_bethgelab", folder=folder.name, mirror=folder.parent)


def test_a_missing_file_is_named_with_where_to_get_it(published):
    _, folder = published
    (folder / "ABS_1.net").unlink()
    with pytest.raises(ModelError, match=r"ABS_1\.net is missing.*bethgelab/AnalysisBySynthesis"):
        import_weights(model(), "abs_bethgelab", folder=folder)


class Code:
    """Unpickled, it would leave a file."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return Path.touch, (Path(self.trace),)


def truncated(path, state):
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path, _: path.write_bytes(b"not a state dict"), "is damaged, or holds more"),
        (lambda path, _: path.write_bytes(b""), "is damaged, or none of PyTorch"),
        (truncated, "is damaged, or none of PyTorch"),
        (lambda path, _: torch.save(Autoencoder(), path), "nothing in it was executed"),
        (lambda path, _: torch.save({"a": Code(path.parent / "ran")}, path), "nothing in it was"),
        (lambda path, _: torch.save(torch.ones(3), path), "holds a Tensor instead of named"),
        (lambda path, _: torch.save([torch.ones(3)], path), "holds a list instead of named"),
        (lambda path, _: torch.save({"a": "text"}, path), "holds a str under 'a' instead of a te"),
        (
            lambda path, state: torch.save({"state_dict": state}, path),
            "holds a dict under 'state_dict' instead of a tensor",
        ),
        (
            lambda path, state: torch.save({**state, "Encoder.conv_0.bias": torch.ones(())}, path),
            r"'Encoder\.conv_0\.bias' has shape \(\): another architecture",
        ),
        (
            lambda path, state: torch.save({**state, "Encoder.conv_3.bias": torch.ones(3)}, path),
            r"'Encoder\.conv_3\.bias' has shape \(3,\): another architecture",
        ),
    ],
)
def test_a_file_that_is_no_state_dict_is_refused_and_nothing_in_it_runs(published, write, message):
    _, folder = published
    path = folder / "ABS_2.net"
    write(path, torch.load(path, weights_only=True))
    with pytest.raises(ModelError, match=rf"ABS_2\.net: .*{message}.*; .*") as found:
        import_weights(model(), "abs_bethgelab", folder=folder)
    assert "weights_only" not in str(found.value)
    assert "mirror" not in str(found.value)
    assert not (folder / "ran").exists()


def test_weights_of_another_architecture_are_refused(published):
    _, folder = published
    with pytest.raises(ModelError, match=r"another architecture.*layout: abs_bethgelab"):
        import_weights(model(layout="grey28"), "abs_bethgelab", folder=folder)
    state = torch.load(folder / "ABS_0.net", weights_only=True)
    del state["Decoder.bn_1.running_var"]
    torch.save(state, folder / "ABS_0.net")
    with pytest.raises(ModelError, match=r"it has no 'Decoder\.bn_1\.running_var'"):
        import_weights(model(), "abs_bethgelab", folder=folder)


def test_a_model_without_an_encoder_per_class_and_an_unknown_format_are_refused(published):
    _, folder = published
    with pytest.raises(ModelError, match="one encoder and decoder per class"):
        import_weights(model(discriminative=True), "abs_bethgelab", folder=folder)
    with pytest.raises(ModelError, match=r"no format 'abs'.*abs_bethgelab"):
        import_weights(model(), "abs", folder=folder)
