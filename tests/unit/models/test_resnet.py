"""ResNet-18: its first layer, what trains, and where published weights come from."""

import pytest
import torch
from torchvision.models import resnet18

from assay.foundation.errors import ModelError
from assay.foundation.files import digest_file
from assay.models.base import build, load_weights, save_weights
from assay.models.pretrained import pretrained_weights
from assay.models.resnet import ResNet18

SHAPE = (1, 32, 32)
ENTRY = {"implementation": "assay.models.resnet:ResNet18", "settings": {"pretrained": True}}


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A mirror with a file that takes the place of torchvision's; no address to download from."""
    mirror = tmp_path / "mirror"
    path = mirror / ResNet18.published["path"]
    path.parent.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        torch.save(resnet18(weights=None).state_dict(), path)
    copy = {"what": "a substitute", "digest": f"sha256:{digest_file(path)}", "urls": []}
    monkeypatch.setattr(ResNet18, "published", {**ResNet18.published, "copies": [copy]})
    return mirror


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_first_layer_fits_the_channels(channels):
    model = ResNet18(classes=5, shape=(channels, 32, 32)).eval()
    assert model.logits(torch.rand(2, channels, 32, 32)).shape == (2, 5)


def test_the_first_layer_has_a_bias_only_where_asked():
    assert ResNet18(classes=2, shape=SHAPE).network.conv1.bias is None
    assert ResNet18(classes=2, shape=SHAPE, first_layer_bias=True).network.conv1.bias is not None


def test_the_decision_is_torchvisions_own_on_the_resized_image():
    model = ResNet18(classes=4, shape=SHAPE, input_size=48).eval()
    images = torch.rand(2, *SHAPE)
    larger = torch.nn.functional.interpolate(images, size=(48, 48), mode="bilinear")
    torch.testing.assert_close(model.logits(images), model.network(larger))


def test_only_named_layers_train():
    model = ResNet18(classes=2, shape=SHAPE, trainable=["layer4", "fc"])
    trained = {name for name, p in model.network.named_parameters() if p.requires_grad}
    names = [name for name, _ in model.network.named_parameters()]
    assert trained == {name for name in names if name.split(".")[0] in ("layer4", "fc")}


def test_a_layer_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ModelError, match=r"'conv' matches no layer.*conv1, bn1, layer1"):
        ResNet18(classes=2, shape=SHAPE, trainable=["conv", "fc"])


@pytest.mark.parametrize(("policy", "moves"), [("update", True), ("frozen", False)])
def test_statistics_of_frozen_layers_follow_the_policy(policy, moves):
    model = ResNet18(classes=2, shape=SHAPE, trainable=["layer4", "fc"], batch_norm=policy).train()
    frozen, trained = model.network.layer1[0].bn1, model.network.layer4[0].bn1
    before = frozen.running_mean.clone(), trained.running_mean.clone()
    model.logits(torch.rand(4, *SHAPE))
    assert torch.equal(frozen.running_mean, before[0]) != moves
    assert not torch.equal(trained.running_mean, before[1])


def test_published_weights_come_from_the_mirror_and_are_recorded(published, tmp_path):
    path = pretrained_weights(ENTRY, mirror=published, cache=tmp_path / "cache")
    model = build("pre", ENTRY, classes=3, shape=SHAPE, pretrained_weights=path)
    expected = torch.load(path, weights_only=True)
    for key in ("layer3.1.conv2.weight", "bn1.running_mean"):
        assert torch.equal(model.network.state_dict()[key], expected[key])
    assert model.facts()["pretrained"] is True
    assert "a substitute" in model.facts()["pretrained_reason"]
    assert model.network.conv1.weight.shape[1] == 1


def test_a_pretrained_first_layer_is_kept_where_it_fits(published, tmp_path):
    path = pretrained_weights(ENTRY, mirror=published, cache=tmp_path / "cache")
    model = build("pre", ENTRY, classes=3, shape=(3, 32, 32), pretrained_weights=path)
    expected = torch.load(path, weights_only=True)["conv1.weight"]
    assert torch.equal(model.network.conv1.weight, expected)


def test_weights_that_cannot_be_had_are_never_replaced_by_random_ones(published, tmp_path):
    with pytest.raises(ModelError, match=r"torchvision/resnet18-f37072fd\.pth") as caught:
        pretrained_weights(ENTRY, mirror=None, cache=tmp_path / "cache")
    message = str(caught.value)
    assert "data_mirror" in message
    assert "'resnet18'" in message
    waiting = build("pre", ENTRY, classes=3, shape=SHAPE)
    with pytest.raises(ModelError, match="built without its weights"):
        waiting.victim("cpu")


def test_a_model_that_awaits_weights_works_once_they_are_loaded(published, tmp_path):
    path = pretrained_weights(ENTRY, mirror=published, cache=tmp_path / "cache")
    trained = build("pre", ENTRY, classes=3, shape=SHAPE, pretrained_weights=path)
    save_weights(trained, tmp_path / "own")
    later = build("pre", ENTRY, classes=3, shape=SHAPE)
    load_weights(later, tmp_path / "own")
    images = torch.rand(2, *SHAPE)
    generator = torch.Generator()
    assert torch.equal(
        later.victim("cpu").logits(images, generator),
        trained.victim("cpu").logits(images, generator),
    )


def test_a_wrong_file_in_the_mirror_is_refused(published, tmp_path):
    path = published / ResNet18.published["path"]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"resnet18-f37072fd.pth.*not the file"):
        pretrained_weights(ENTRY, mirror=published, cache=tmp_path / "cache")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x80\x04cos\nsystem\n."])
def test_a_damaged_or_hostile_file_is_refused_without_running_it(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"weights\.pth: the published weights cannot be read"):
        build("pre", ENTRY, classes=3, shape=SHAPE, pretrained_weights=path)


def test_an_entry_without_pretraining_wants_no_file_and_says_so(tmp_path):
    entry = {**ENTRY, "settings": {"pretrained": False}}
    assert pretrained_weights(entry, mirror=None, cache=tmp_path) is None
    facts = build("plain", entry, classes=3, shape=SHAPE).facts()
    assert facts["pretrained"] is False
    assert "random" in facts["pretrained_reason"]
