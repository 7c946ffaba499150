"""FID and LPIPS: against closed forms and the packages themselves, on small networks."""

import ast
import warnings

import numpy as np
import pytest
import scipy.linalg
import torch
from safetensors.torch import save_file
from torch import nn

from assay.evaluation.measurements.base import Data, measured
from assay.evaluation.measurements.fid import FID, frechet
from assay.evaluation.measurements.lpips import LPIPS, TRUNKS, perceptual
from assay.foundation.digest import ROOT
from assay.foundation.errors import MeasurementError, ModelError
from assay.models.base import Classifier

SIDE = 16


class Blurred(Classifier):
    """Reconstructs each image: class 1 as it is but for a shift, class 0 as its complement."""

    max_batch = 8

    def __init__(self, shift=0.0, channels=1):
        super().__init__(classes=2, shape=(channels, SIDE, SIDE))
        self.shift = shift

    def features(self, images):
        return images.flatten(1)

    def logits(self, images, generator=None):
        return torch.stack([images.mean(dim=(1, 2, 3)), -images.mean(dim=(1, 2, 3))], dim=1)

    def explain(self, images, generator=None):
        made = torch.stack([1 - images, images + self.shift], dim=1)
        return made, torch.tensor([[-2.0, -1.0]]).expand(len(images), -1)


class Pixels(nn.Module):
    """Some pixels of a channel, times two."""

    def forward(self, images):
        return 2 * images[:, 0, ::5, ::5].flatten(1)


def images(n=40, channels=1):
    rng = np.random.default_rng(0)
    return rng.integers(40, 200, (n, channels, SIDE, SIDE), dtype=np.uint8)


def data(n=40, channels=1, **more):
    stored = images(n, channels)
    return Data(images=stored, labels=np.arange(n) % 2, indices=np.arange(0, n - 1), **more)


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "features.pt"
    torch.jit.save(torch.jit.trace(Pixels().eval(), torch.zeros(2, 3, SIDE, SIDE)), path)
    return str(path)


def gaussians(first, second):
    """The Fréchet distance of the Gaussians that fit two sets of features, in closed form."""
    means = [part.mean(axis=0) for part in (first, second)]
    one, other = (np.cov(part, rowvar=False) for part in (first, second))
    root = scipy.linalg.sqrtm(one @ other).real
    return np.sum((means[0] - means[1]) ** 2) + np.trace(one + other - 2 * root)


def test_the_distance_is_that_of_two_gaussians():
    rng = np.random.default_rng(1)
    first, second = rng.random((200, 3, 4, 4)), 0.3 * rng.random((150, 3, 4, 4)) + 0.2
    flat = nn.Sequential(nn.Flatten(), nn.Linear(48, 6)).double()
    flat.num_features = 6
    distance = frechet(flat, "cpu")
    with torch.no_grad():
        distance.update(torch.from_numpy(first), real=True)
        distance.update(torch.from_numpy(second), real=False)
        features = [flat(torch.from_numpy(part)).numpy() for part in (first, second)]
    assert distance.compute().item() == pytest.approx(gaussians(*features), rel=1e-6)


def test_fid_compares_test_images_with_reconstructions_by_the_likeliest_class(network):
    given = data()
    own = 2 * given.images[given.indices, 0, ::5, ::5].reshape(39, -1) / 255
    exact = measured(FID(network=network), Blurred(), given)
    assert exact["fid"] == pytest.approx(0, abs=1e-6)
    assert (exact["images"], exact["features"]) == (39, own.shape[1])
    moved = measured(FID(network=network), Blurred(shift=0.1), given)
    # Equal covariances: what is left is the distance of the means.
    assert moved["fid"] == pytest.approx(own.shape[1] * 0.2**2, rel=1e-4)
    assert moved["fid"] == pytest.approx(gaussians(own, own + 0.2), rel=1e-4)
    scaled = measured(FID(network=network, mean=0.5, deviation=0.5), Blurred(shift=0.1), given)
    assert scaled["fid"] == pytest.approx(4 * moved["fid"], rel=1e-4)


class Small(nn.Sequential):
    """What a file of weights can be of."""

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4))


def test_fid_reads_weights_as_safetensors_and_as_a_state_dict(tmp_path):
    torch.manual_seed(0)
    state = Small().state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "a.pt")
    architecture = f"{__name__}:Small"
    found = [
        measured(
            FID(network=str(tmp_path / name), architecture=architecture), Blurred(0.1), data()
        )["fid"]
        for name in ("a.safetensors", "a.pt")
    ]
    assert found[0] == found[1] > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"network": "nowhere.pt"}, r"nowhere\.pt: there is no such file; name the file in "),
        ({"network": "torn.pt"}, r"torn\.pt: is no TorchScript file; write it with "),
        ({"network": "wrong.pt", "architecture": f"{__name__}:Small"},
         r"wrong\.pt: the weights are of another network \(it has no '1\.bias'"),
        ({"network": "torn.pt", "architecture": f"{__name__}:Small"},
         r"torn\.pt: .*; name another file in settings\.network"),
    ],
)  # fmt: skip
def test_a_network_that_is_not_there_or_does_not_fit_is_one_line(
    tmp_path, monkeypatch, settings, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torn.pt").write_bytes(b"no network")
    torch.save({"1.weight": torch.zeros(4, 3 * SIDE * SIDE)}, tmp_path / "wrong.pt")
    with pytest.raises(MeasurementError, match=message) as error:
        measured(FID(**settings), Blurred(), data())
    assert "\n" not in str(error.value)


def test_a_network_that_cannot_look_at_such_images_is_one_line(tmp_path):
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3 * 99 * 99, 2)

        def forward(self, images):
            return self.layer(images.flatten(1))

    path = tmp_path / "wide.pt"
    torch.jit.save(torch.jit.trace(Wide(), torch.zeros(2, 3, 99, 99)), path)
    with pytest.raises(MeasurementError, match=r"set settings\.side") as error:
        measured(FID(network=str(path)), Blurred(), data())
    assert "\n" not in str(error.value)
    assert measured(FID(network=str(path), side=99), Blurred(), data())["fid"] >= 0


def test_a_model_without_reconstructions_is_refused_by_name(network):
    class Plain(Blurred):
        explain = Classifier.explain

    with pytest.raises(ModelError, match="no reconstruction per class"):
        measured(FID(network=network), Plain(), data())


@pytest.fixture(scope="module")
def trunks(tmp_path_factory):
    """Files of random weights with torchvision's names, and the networks that they are of."""
    from torchvision import models

    folder, found = tmp_path_factory.mktemp("trunks"), {}
    for name, make in (("alex", models.alexnet), ("squeeze", models.squeezenet1_1)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            network = make(weights=None)
        path = folder / f"{name}.safetensors"
        state = {k: v for k, v in network.state_dict().items() if k.startswith("features.")}
        save_file(state, path)
        found[name] = path, network
    return found


@pytest.mark.parametrize("trunk", ["alex", "squeeze"])
def test_lpips_is_what_the_package_computes_with_that_trunk(trunks, trunk):
    import lpips

    path, network = trunks[trunk]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False)
    # The slices share their layers with the network that the package made.
    for part, layers in theirs.net.named_children():
        for number, layer in layers.named_children():
            layer.load_state_dict(network.features[int(number)].state_dict())
            assert part.startswith("slice")
    first, second = torch.rand(3, 3, 64, 64), torch.rand(3, 3, 64, 64)
    ours = perceptual(trunk, str(path))
    with torch.no_grad():
        expected = theirs(first, second, normalize=True)
        assert torch.equal(ours(first, second, normalize=True), expected)
        assert (expected > 0).all()


def test_lpips_is_zero_for_equal_images_and_grows_with_the_noise(trunks):
    weights = str(trunks["squeeze"][0])
    found = [
        measured(LPIPS(trunk="squeeze", weights=weights), Blurred(shift), data(8))["distances"]
        for shift in (0.0, 0.02, 0.2)
    ]
    assert found[0].tolist() == [0] * 7
    assert (found[0] < found[1]).all()
    assert (found[1] < found[2]).all()


def test_lpips_of_example_images_is_their_distance_from_the_unperturbed_ones(trunks):
    clean = (images(3, 3) / 255).astype(np.float16)
    noise = np.random.default_rng(2).normal(0, 1, clean.shape)
    attacked = np.stack(
        [clean, (clean + 0.02 * noise).clip(0, 1), (clean + 0.2 * noise).clip(0, 1)]
    )
    stored = {
        "labels": np.arange(3),
        "clean/images": clean,
        "pgd/images": attacked.astype(np.float16),
        "pgd/epsilons": np.array([0.0, 0.02, 0.2]),
        "pgd/predictions": np.array([[0, 1, 2], [0, 1, -1], [1, 1, -1]]),
    }
    given = data(channels=3, examples=[("pgd", stored)])
    found = measured(
        LPIPS(trunk="squeeze", weights=str(trunks["squeeze"][0])), Blurred(channels=3), given
    )
    distances = found["pgd/distances"]
    assert distances[0].tolist() == [0, 0, 0]
    assert np.isnan(distances[1:, 2]).all()
    assert (distances[1, :2] > 0).all()
    assert (distances[1, :2] < distances[2, :2]).all()
    assert "distances" not in found


def test_a_trunk_that_is_missing_or_of_another_network_is_one_line(trunks, tmp_path):
    with pytest.raises(MeasurementError, match=r"there is no such file; name the file in settings"):
        measured(LPIPS(weights=str(tmp_path / "x.pth")), Blurred(), data(4))
    with pytest.raises(MeasurementError, match=r"'features\.0\.weight' has shape") as error:
        measured(LPIPS(trunk="squeeze", weights=str(trunks["alex"][0])), Blurred(), data(4))
    assert "\n" not in str(error.value)
    with pytest.raises(MeasurementError, match=rf"use {', '.join(TRUNKS)}"):
        LPIPS(trunk="resnet")


def test_the_two_packages_are_imported_late_and_by_their_measurements_alone():
    found = {}
    for file in sorted((ROOT / "assay").rglob("*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        for node in ast.walk(tree):
            names = [alias.name for alias in getattr(node, "names", ())]
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
            for name in names if isinstance(node, ast.Import | ast.ImportFrom) else ():
                if name.split(".")[0] in ("torchmetrics", "lpips"):
                    assert node not in tree.body
                    found.setdefault(name.split(".")[0], set()).add(file.stem)
    assert found == {"torchmetrics": {"fid"}, "lpips": {"lpips"}}
