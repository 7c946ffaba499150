"""DeepFool against closed forms and a straightforward loop."""

import pytest
import torch
from toys import SHAPE, Linear, generator, images_for, victim_of

from assay.attacks.deepfool import DeepFool
from assay.attacks.prediction import evaluate_images
from assay.attacks.victim import Victim
from assay.foundation.errors import AttackError

CLASSES = 5
WEIGHT = torch.randn(36, CLASSES, generator=torch.Generator().manual_seed(2))


def planes(x, g):
    return (x - 0.5).flatten(1) @ WEIGHT


def curved(x, g):
    return torch.tanh(2 * (x - 0.5).flatten(1) @ WEIGHT) + 0.3 * planes(x, g)


def victim(logits, **options):
    return Victim(logits=logits, classes=CLASSES, shape=SHAPE, device="cpu", **options)


def images_and_labels(logits):
    images, _ = images_for(Linear().eval())
    return images, logits(images, None).argmax(1)


def found(attack, victim, images, labels):
    """Distances (n,) of what the attack found, and its result."""
    result = attack(victim, images, labels, [100.0], generator())
    return getattr(result, attack.norm)[0], result


def reference(logits, image, label, norm, steps=50, overshoot=0.02):
    """The published loop for one image, over all classes."""
    x = far = image
    for _ in range(steps):
        if int(logits(far, None).argmax()) != label:
            break
        options = []
        for k in set(range(CLASSES)) - {label}:
            leaf = x.clone().requires_grad_()
            z = logits(leaf, None)[0]
            gap = z[k] - z[label]
            (w,) = torch.autograd.grad(gap, leaf)
            if norm == "l2":
                length, direction = gap.abs() / w.norm(), w / w.norm()
            else:
                length, direction = gap.abs() / w.abs().sum(), w.sign()
            options.append((length.item(), direction))
        length, direction = min(options, key=lambda option: option[0])
        x = (x + (length + 1e-4) * direction).clamp(0, 1)
        far = (image + (1 + overshoot) * (x - image)).clamp(0, 1)
    return far


@pytest.mark.parametrize(("norm", "dual"), [("l2", 2), ("linf", 1)])
def test_the_distance_on_the_linear_model_is_the_closed_form(norm, dual):
    module = Linear().eval()
    images, labels = images_for(module)
    distance, result = found(DeepFool(norm=norm), victim_of(module), images, labels)
    with torch.no_grad():
        closed = module.margin(images).abs() / module.weight.norm(p=dual)
    assert result.misclassified.all()
    assert (distance >= closed - 1e-6).all()
    assert (distance / closed).median() < 1.05


@pytest.mark.parametrize(("norm", "dual"), [("l2", 2), ("linf", 1)])
def test_among_several_planes_the_nearest_is_crossed(norm, dual):
    images, labels = images_and_labels(planes)
    distance, result = found(DeepFool(norm=norm, final_steps=0), victim(planes), images, labels)
    gaps = planes(images, None) - planes(images, None).gather(1, labels[:, None])
    normals = (WEIGHT.T[:, None] - WEIGHT.T[None]).norm(p=dual, dim=2)
    closed = (gaps.abs() / normals[labels]).nan_to_num(torch.inf).scatter(1, labels[:, None], 9.0)
    nearest, which = closed.min(dim=1)
    assert result.misclassified.all()
    assert torch.equal(result.prediction[0], which)
    torch.testing.assert_close(distance, 1.02 * (nearest + 1e-4), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_it_takes_the_steps_of_a_straightforward_loop(norm):
    images, labels = images_and_labels(curved)
    _, result = found(DeepFool(norm=norm, final_steps=0), victim(curved), images, labels)
    expected = torch.cat(
        [
            reference(curved, image[None], int(label), norm)
            for image, label in zip(images, labels, strict=True)
        ]
    )
    torch.testing.assert_close(result.images[0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_final_steps_end_closer_and_on_the_same_line(norm):
    images, labels = images_and_labels(curved)
    far, rough = found(DeepFool(norm=norm, final_steps=0), victim(curved), images, labels)
    near, fine = found(DeepFool(norm=norm), victim(curved), images, labels)
    assert torch.equal(rough.misclassified, fine.misclassified)
    # An image on the boundary itself is moved beyond it.
    assert (near <= 1.005 * far).all()
    assert (near < 0.99 * far).float().mean() > 0.3
    way, whole = ((result.images[0] - images).flatten(1) for result in (fine, rough))
    cosine = torch.nn.functional.cosine_similarity(way, whole)
    torch.testing.assert_close(cosine, torch.ones_like(cosine), rtol=0, atol=1e-4)


def test_two_candidates_look_only_at_the_runner_up():
    images, labels = images_and_labels(planes)
    target = victim(planes)
    _, result = found(DeepFool(norm="l2", candidates=2), target, images, labels)
    assert torch.equal(result.prediction[0], planes(images, None).topk(2, dim=1).indices[:, 1])
    assert (result.backwards[0] == 1).all()


def test_an_image_that_is_done_costs_nothing_more():
    images, labels = images_and_labels(planes)
    _, result = found(DeepFool(norm="l2", steps=50), victim(planes), images, labels)
    assert (result.backwards[0] == CLASSES - 1).all()
    # The clean decision, one step, one look, three steps back to the boundary, the verdict.
    assert result.forwards.max() == 7


def test_a_victim_without_gradient_leaves_the_images_where_they_are():
    images, labels = images_and_labels(planes)

    def flat(x, g):
        return planes(x, g).round().detach()

    labels = flat(images, None).argmax(1)
    _, result = found(DeepFool(steps=3), victim(flat), images, labels)
    assert torch.equal(result.images[0], images)
    assert (result.zero_gradients[0] == 3 * (CLASSES - 1)).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_on_a_noisy_victim_a_lucky_draw_does_not_end_the_search(norm):
    def noisy(x, g):
        return planes(x, g) + 0.5 * torch.randn(len(x), CLASSES, generator=g)

    images, labels = images_and_labels(planes)
    target = victim(noisy, stochastic=True)
    clean = ~evaluate_images(target, images, labels, generator(), repeats=99).misclassified
    images, labels = images[clean], labels[clean]
    _, result = found(DeepFool(norm=norm), target, images, labels)
    again = evaluate_images(target, result.images[0], labels, generator(5), repeats=99)
    assert result.misclassified.float().mean() > 0.85
    # The closest image stands where a vote is won about every other time, no farther.
    assert again.misclassified_share.mean() > 0.5


@pytest.mark.parametrize(
    "wrong",
    [{"norm": "l1"}, {"steps": 0}, {"candidates": 1}, {"overshoot": -0.1}, {"final_steps": -1}],
)
def test_impossible_settings_are_named(wrong):
    with pytest.raises(AttackError, match=f"attack setting '{next(iter(wrong))}'"):
        DeepFool(**wrong)
