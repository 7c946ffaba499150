"""The training loop: it learns, it is reproducible, and it goes on exactly where it stopped."""

import errno
import logging
import math
import signal
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from training_factory import (
    CLASSES,
    SHAPE,
    TRAIN,
    Small,
    Stop,
    adam,
    blobs,
    kill_a_training,
    numbers,
    run,
    same,
    small,
    steps,
    stop,
    stopping_at,
)

from assay.foundation.errors import ModelError, TrainingError
from assay.models.base import build, correct
from assay.models.gbz import GBZ
from assay.models.resnet import ResNet18
from assay.training.images import batches
from assay.training.loop import train


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return run(tmp_path_factory.mktemp("undisturbed"))


def test_training_learns(tmp_path):
    history = run(tmp_path, epochs=8).history
    assert history["train_loss"].iloc[-1] < 0.5 * history["train_loss"].iloc[0]
    assert history["val_accuracy"].max() > 0.9


def test_a_generative_model_learns_every_part_of_its_loss(tmp_path):
    entry = {"implementation": "assay.models.gbz:GBZ", "settings": {"latent_dim": 4, "samples": 2}}
    model = build("gbz", entry, classes=CLASSES, shape=SHAPE)
    result = run(tmp_path, model, objective="elbo", epochs=25, scheduler=None)
    first, last = result.history.iloc[0], result.history.iloc[-1]
    assert last["val_reconstruction"] < first["val_reconstruction"]
    assert last["val_classification"] < first["val_classification"]
    assert result.history["val_accuracy"].max() > 0.6


def test_history_and_facts_tell_what_happened(undisturbed):
    history, facts = undisturbed.history, undisturbed.facts
    assert list(history["epoch"]) == [0, 1, 2]
    assert {
        "train_loss",
        "val_loss",
        "train_accuracy",
        "val_accuracy",
        "learning_rate",
        "seconds",
    } <= set(history.columns)
    assert (history["seconds"] > 0).all()
    assert facts["train_n"] == TRAIN
    assert facts["val_n"] == 60
    assert facts["epochs"] == 3
    assert facts["updates"] == 21
    assert facts["parameters"] == sum(p.numel() for p in small().parameters())
    best = history["val_accuracy"][history["epoch"] == facts["best_epoch"]].item()
    assert best == history["val_accuracy"].max() == facts["best_val_accuracy"]


def watching():
    """A model that notes the losses of the images that it trains on, and the list of them."""
    seen = []

    class Watched(Small):
        def training_loss(self, images, labels, generator=None):
            parts = super().training_loss(images, labels, generator)
            if self.training:
                seen.append(parts["total"].detach().clone())
            return parts

    return Watched, seen


def test_the_recorded_training_loss_is_the_mean_over_the_images_that_were_seen(tmp_path):
    watched, seen = watching()
    for objective, unit in (("standard", 1), ("elbo", 16)):
        seen.clear()
        history = run(tmp_path / objective, small(watched), epochs=1, objective=objective).history
        assert sum(map(len, seen)) == TRAIN
        assert history["train_loss"][0] == pytest.approx(torch.cat(seen).mean().item() * unit)


def test_phases_report_losses_per_image_and_count_their_own_batches(tmp_path):
    watched, seen = watching()
    phases = [{"epochs": 1, "objective": "elbo"}, {"epochs": 1, "batch_size": 32}]
    optimizer = {"name": "SGD", "lr": 1e-4}
    result = run(tmp_path, small(watched), phases=phases, optimizer=optimizer)
    first, second = torch.cat(seen).split(TRAIN)
    assert result.history["train_loss"].tolist() == pytest.approx(
        [first.mean().item(), second.mean().item()]
    )
    assert result.facts["loss_per"] == "image"
    assert result.facts["updates"] == 7 + 4  # 100 images in batches of 16, then of 32


def test_every_epoch_shows_every_image_once_in_a_new_order(tmp_path):
    seen = []

    class Watched(Small):
        def training_loss(self, images, labels, generator=None):
            if self.training:
                seen.append((images * 255).round().to(torch.uint8).flatten(1).clone())
            return super().training_loss(images, labels, generator)

    run(tmp_path, small(Watched), epochs=2)
    together = torch.cat(seen)
    first, second = together[:TRAIN], together[TRAIN:]
    expected = torch.from_numpy(blobs()[0][:TRAIN]).flatten(1)
    for epoch in (first, second):
        assert torch.equal(epoch.unique(dim=0), expected.unique(dim=0))
    assert not torch.equal(first, second)


def test_the_learning_rate_falls_in_steps(tmp_path):
    history = run(
        tmp_path, epochs=5, optimizer=adam(0.01), scheduler={"name": "StepLR", "step_size": 2}
    ).history
    assert history["learning_rate"].tolist() == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001])


class Pixels(Small):
    """Without noise or dropout; the last 80 of its inputs are always zero."""

    def logits(self, images, generator=None):
        return self.head(functional.pad(images.flatten(1), (0, 80)))


def test_a_step_follows_the_gradient_by_the_learning_rate_and_the_decay_pulls_to_zero(tmp_path):
    before = small(Pixels).head.weight.data
    images, labels = blobs()
    model = small(Pixels)
    pixels = torch.from_numpy(images[:TRAIN]).float() / 255
    functional.cross_entropy(model.logits(pixels), torch.from_numpy(labels[:TRAIN])).backward()

    def moved(lr, decay=0.0):
        """How far one step on all images moves each weight."""
        settings = {"optimizer": adam(lr, weight_decay=decay), "scheduler": None}
        work = tmp_path / f"{lr}_{decay}"
        done = run(work, small(Pixels), epochs=1, batch_size=TRAIN, **settings)
        return done.last_state["head.weight"] - before

    plain, double = moved(0.01), moved(0.02)
    torch.testing.assert_close(double, 2 * plain, rtol=1e-3, atol=1e-6)
    seen = model.head.weight.grad.abs() > 1e-4
    assert seen[:, :64].all()
    assert torch.equal(plain.sign()[seen], -model.head.weight.grad.sign()[seen])
    # A weight whose input is always zero has no gradient: the decay alone moves it.
    assert (plain[:, 64:] == 0).all()
    decayed = moved(0.01, 0.1)[:, 64:]
    assert torch.equal(decayed.sign(), -before[:, 64:].sign())


class Scripted(Small):
    """Validation accuracies from a list, one per epoch."""

    accuracies = (0.0, 1.0, 0.0, 1.0, 0.0)

    def __init__(self):
        super().__init__()
        self.epoch = -1

    def train(self, mode=True):
        self.epoch += mode
        return super().train(mode)

    def validation_loss(self, images, labels, generator=None):
        parts = super().validation_loss(images, labels, generator)
        return {**parts, "accuracy": torch.full((len(labels),), self.accuracies[self.epoch])}


def test_the_latest_of_equally_good_epochs_is_the_best(tmp_path):
    result = run(tmp_path / "all", small(Scripted), epochs=5)
    shorter = run(tmp_path / "four", small(Scripted), epochs=4, scheduler=None)
    assert result.facts["best_epoch"] == 3
    assert same(result.best_state, shorter.last_state)
    assert not same(result.best_state, result.last_state)


def test_training_ends_after_so_many_epochs_without_a_better_one_and_a_rerun_knows(tmp_path):
    class Fading(Scripted):
        accuracies = (0.2, 0.9, 0.8, 0.7, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1)

    result = run(tmp_path / "two", small(Fading), epochs=10, patience=2)
    assert result.facts["best_epoch"] == 1
    assert result.facts["epochs"] == 4
    again = run(tmp_path / "two", small(Fading), epochs=10, patience=2)
    assert same(again.best_state, result.best_state)
    longer = run(tmp_path / "three", small(Fading), epochs=10, patience=3)
    assert longer.facts["best_epoch"] == 4
    assert longer.facts["epochs"] == 8
    nothing = np.array([], dtype=int)
    assert run(tmp_path / "none", val=nothing, epochs=4, patience=1).facts["epochs"] == 4


def test_without_validation_the_last_weights_are_the_best(tmp_path):
    result = run(tmp_path, val=np.array([], dtype=int))
    assert same(result.best_state, result.last_state)
    assert result.history["val_accuracy"].isna().all()
    assert result.facts["best_val_accuracy"] is None


def test_the_model_is_left_with_the_last_weights(tmp_path):
    model = small()
    assert same(run(tmp_path, model).last_state, model.state_dict())


def test_frozen_layers_do_not_change(tmp_path):
    model = ResNet18(classes=CLASSES, shape=SHAPE, trainable=["conv1", "fc"])
    before = {name: value.clone() for name, value in model.network.named_parameters()}
    run(tmp_path, model, epochs=1, optimizer=adam(0.003, weight_decay=0.1))
    for name, value in model.network.named_parameters():
        trained = name.split(".")[0] in ("conv1", "fc")
        assert torch.equal(value, before[name]) != trained, name


def test_a_training_repeats_itself_whatever_else_samples_random_numbers(tmp_path, undisturbed):
    torch.manual_seed(99)
    torch.rand(5)
    np.random.default_rng().random(3)
    state = torch.random.get_rng_state()
    again = run(tmp_path)
    assert same(again.last_state, undisturbed.last_state)
    assert same(again.best_state, undisturbed.best_state)
    assert numbers(again.history).equals(numbers(undisturbed.history))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_another_name_is_another_training(tmp_path, undisturbed):
    assert not same(run(tmp_path, names=("other",)).last_state, undisturbed.last_state)


@pytest.mark.parametrize("step", [1, 2, 6, 7, 8, 13, 21])
def test_a_training_that_stopped_in_the_middle_ends_with_the_same_bits(tmp_path, undisturbed, step):
    with pytest.raises(Stop):
        run(tmp_path, stopping_at(step, stop), every=0)
    assert bool(steps(tmp_path)) == (step > 1)
    resumed = run(tmp_path)
    assert same(resumed.last_state, undisturbed.last_state)
    assert same(resumed.best_state, undisturbed.best_state)
    assert numbers(resumed.history).equals(numbers(undisturbed.history))


def test_a_training_can_stop_again_and_again(tmp_path, undisturbed):
    for step in (3, 5, 2, 6):
        with pytest.raises(Stop):
            run(tmp_path, stopping_at(step, stop), every=0)
    assert same(run(tmp_path).last_state, undisturbed.last_state)


def test_a_resumed_training_does_not_repeat_finished_steps(tmp_path):
    with pytest.raises(Stop):
        run(tmp_path, stopping_at(10, stop), every=0)
    rest = stopping_at(10_000, stop)
    run(tmp_path, rest)
    assert type(rest).count == 3 * 7 - 9


def test_a_finished_training_is_not_repeated(tmp_path, undisturbed):
    run(tmp_path)
    (path,) = tmp_path.glob("checkpoint_*.pt")
    assert torch.load(path, weights_only=True)["optimiser"] is None
    again = run(tmp_path, stopping_at(1, stop))
    assert same(again.last_state, undisturbed.last_state)
    assert same(again.best_state, undisturbed.best_state)
    assert numbers(again.history).equals(numbers(undisturbed.history))


def test_a_resumed_generative_model_ends_with_the_same_bits(tmp_path):
    def made():
        return build(
            "gbz",
            {"implementation": "assay.models.gbz:GBZ", "settings": {"latent_dim": 4, "samples": 2}},
            classes=CLASSES,
            shape=SHAPE,
        )

    whole = run(tmp_path / "whole", made(), objective="elbo")
    stopped = made()
    bound, count = stopped.training_loss, 0

    def failing(*arguments):
        nonlocal count
        count += stopped.training
        if count == 12:
            raise Stop
        return bound(*arguments)

    stopped.training_loss = failing
    with pytest.raises(Stop):
        run(tmp_path / "stopped", stopped, objective="elbo", every=0)
    assert same(run(tmp_path / "stopped", made(), objective="elbo").last_state, whole.last_state)


def test_a_training_killed_at_random_moments_ends_with_the_same_bits(tmp_path):
    expected = run(tmp_path / "whole", epochs=20)
    work, rng = tmp_path / "killed", np.random.default_rng()
    for _ in range(2):
        before = max(steps(work), default=0)
        kill_a_training(work, before + 200, rng.uniform(0, 0.05), epochs=20)
        assert before < max(steps(work)) < 20 * TRAIN
    resumed = run(work, epochs=20)
    assert same(resumed.last_state, expected.last_state)
    assert same(resumed.best_state, expected.best_state)
    assert not list(work.glob(".checkpoint_*")), "the torn write was cleaned up"


def test_ctrl_c_keeps_the_step_that_ran(tmp_path, undisturbed):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stopping_at(9, lambda: signal.raise_signal(signal.SIGINT)))
    assert steps(tmp_path) == [TRAIN + 2 * 16]
    assert signal.getsignal(signal.SIGINT) is before
    assert same(run(tmp_path).last_state, undisturbed.last_state)


def test_a_second_ctrl_c_does_not_wait(tmp_path):
    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stopping_at(9, twice))
    assert steps(tmp_path) == []


def test_a_schedulers_sigterm_is_obeyed_after_a_checkpoint(tmp_path):
    received = []
    before = signal.signal(signal.SIGTERM, lambda *_: received.append(steps(tmp_path)))
    try:
        run(tmp_path, stopping_at(9, lambda: signal.raise_signal(signal.SIGTERM)))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [[TRAIN + 2 * 16]]


def test_a_signal_after_the_last_step_is_not_lost(tmp_path):
    class Late(Small):
        def validation_loss(self, images, labels, generator=None):
            signal.raise_signal(signal.SIGINT)
            return super().validation_loss(images, labels, generator)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, small(Late), epochs=1, val=np.arange(TRAIN, TRAIN + 10))
    assert steps(tmp_path) == [TRAIN]


def middle_of_the_largest_entry(path: Path) -> int:
    """A place among the tensors: a flipped bit of the padding between them damages nothing."""
    with zipfile.ZipFile(path) as archive:
        entry = max(archive.infolist(), key=lambda info: info.file_size)
    header = path.read_bytes()[entry.header_offset :][:30]
    names = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    return entry.header_offset + 30 + names + entry.file_size // 2


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    tmp_path, undisturbed, caplog, damage
):
    with pytest.raises(Stop):
        run(tmp_path, stopping_at(12, stop), every=0)
    newest = max(tmp_path.glob("checkpoint_*.pt"))
    content = bytearray(newest.read_bytes())
    if damage == "flipped":
        content[middle_of_the_largest_entry(newest)] ^= 1
    newest.write_bytes({"truncated": content[:-500], "flipped": content, "empty": b""}[damage])
    rest = stopping_at(10_000, stop)
    with caplog.at_level(logging.WARNING):
        resumed = run(tmp_path, rest)
    assert newest.name in caplog.text
    assert type(rest).count == 21 - 10, "it went on from the checkpoint before"
    assert same(resumed.last_state, undisturbed.last_state)


def test_checkpoints_of_another_training_are_not_used(tmp_path, undisturbed, caplog):
    run(tmp_path, names=("other",))
    assert same(run(tmp_path).last_state, undisturbed.last_state)
    assert "belongs to another training" in caplog.text


def test_only_two_checkpoints_are_kept_and_in_the_end_one(tmp_path):
    with pytest.raises(Stop):
        run(tmp_path, stopping_at(12, stop), every=0)
    assert len(steps(tmp_path)) == 2
    run(tmp_path, every=0)
    assert len(steps(tmp_path)) == 1


def test_no_checkpoint_is_written_before_its_time(tmp_path):
    with pytest.raises(Stop):
        run(tmp_path, stopping_at(20, stop), every=1000)
    assert steps(tmp_path) == []


def test_a_full_disk_is_one_clear_line_and_loses_nothing(tmp_path, undisturbed, monkeypatch):
    write, count = Path.write_bytes, 0

    def full(path, data):
        nonlocal count
        count += 1
        if count == 5:
            write(path, bytes(data)[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(TrainingError) as caught:
        run(tmp_path, every=0)
    assert "no space left" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "free some space" in str(caught.value)
    assert steps(tmp_path) == [3 * 16, 4 * 16]
    assert same(run(tmp_path).last_state, undisturbed.last_state)


def test_a_loss_that_is_no_number_stops_with_epoch_and_learning_rate(tmp_path):
    class Breaking(Small):
        count = 0

        def training_loss(self, images, labels, generator=None):
            parts = super().training_loss(images, labels, generator)
            if self.training:
                type(self).count += 1
            return {**parts, "total": parts["total"] * (math.nan if self.count == 9 else 1)}

    with pytest.raises(TrainingError, match=r"test: .*epoch 1 at learning rate 0.003; lower"):
        run(tmp_path, small(Breaking), every=0)
    assert steps(tmp_path) == [TRAIN, TRAIN + 16], "no checkpoint has the broken weights"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, "unknown key 'epoch'.*epochs"),
        ({"objective": "magic"}, "there is no objective 'magic'.*standard"),
        ({"learning_rate": 0.1}, "unknown key 'learning_rate'.*write optimizer: {lr: ...}"),
        ({"batch_size": 0}, "training.batch_size: 0 is not positive"),
        ({"optimizer": {"name": "Adem"}}, "there is no optimizer 'Adem'"),
        ({"optimizer": {"name": "SGD", "lr": 0.1, "nesterov": True}}, "SGD: Nesterov"),
        ({"augment": [{"name": "spin"}]}, "no augmentation 'spin'.*flip"),
    ],
)
def test_impossible_settings_are_refused_by_name(tmp_path, settings, message):
    with pytest.raises(TrainingError, match=message):
        run(tmp_path, **settings)


def test_a_network_with_every_layer_frozen_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="every layer is frozen"):
        run(tmp_path, small().requires_grad_(False))


def test_nothing_to_train_on_is_refused(tmp_path):
    images, labels = blobs()
    with pytest.raises(TrainingError, match="no image"):
        train(small(), images, labels, [], [], {}, work=tmp_path, names=("test",))


def test_a_model_that_awaits_published_weights_is_not_trained(tmp_path):
    model = ResNet18(classes=CLASSES, shape=SHAPE, pretrained=True)
    with pytest.raises(ModelError, match="built without its weights"):
        run(tmp_path, model)


@pytest.mark.parametrize("total", [1, 2, 5, 6, 7, 64])
def test_batches_cover_every_position_once_and_none_but_the_only_one_is_single(total):
    parts = batches(total, 3)
    assert [place for start, stop in parts for place in range(start, stop)] == list(range(total))
    assert total == 1 or min(stop - start for start, stop in parts) > 1
    assert max(stop - start for start, stop in parts) <= 4


def test_validation_of_bayes_rule_counts_the_true_decision(tmp_path):
    class Judged(GBZ):
        def logits(self, images, generator=None):
            return functional.one_hot(torch.zeros(len(images), dtype=int), CLASSES).float()

    model = Judged(classes=CLASSES, shape=SHAPE, latent_dim=2, samples=2)
    history = run(tmp_path, model, objective="elbo", epochs=1).history
    _, labels = blobs()
    expected = correct(torch.eye(CLASSES)[[0]], torch.from_numpy(labels[TRAIN:])).mean().item()
    assert history["val_accuracy"][0] == pytest.approx(expected)


class NeedsAll(Small):
    """A network with a part for each class."""

    needs_every_class = True


def test_a_class_without_images_stops_a_model_that_has_a_part_for_each(tmp_path, caplog):
    images, labels = blobs()
    some = np.flatnonzero(labels[:TRAIN] != 1)
    arguments = images, labels, some, np.arange(TRAIN, len(labels)), {"epochs": 1}
    with pytest.raises(TrainingError, match=r"no training image of class 1.*training\.samples"):
        train(small(NeedsAll), *arguments, work=tmp_path / "a", names=("a",))
    with caplog.at_level(logging.WARNING):
        train(small(), *arguments, work=tmp_path / "b", names=("b",))
    assert "no training image of class 1; it will not be predicted" in caplog.text


class Diverging(Small):
    """A network that finds fault with its second epoch."""

    epochs = 0

    def diverges(self, means):
        self.epochs += 1
        assert means["total"] > 0
        return "the discriminator has won" if self.epochs == 2 else None


def test_a_model_that_says_it_diverges_stops_and_keeps_the_checkpoint(tmp_path):
    with pytest.raises(
        TrainingError, match=r"the discriminator has won in epoch 1 at learning rate .*lower"
    ):
        run(tmp_path, small(Diverging), epochs=4, every=0.0)
    assert list(tmp_path.rglob("*.pt"))
