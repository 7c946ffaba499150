"""What every attack must keep to, whatever it searches with."""

import dataclasses

import pytest
import torch
from toys import CASES, SHAPE, Linear, generator, images_for, victim_of

from assay.attacks.attack import Attack
from assay.attacks.lbfgs import LBFGS
from assay.foundation.errors import AttackError
from assay.threat.ball import TOLERANCE

every_attack = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
breaking = {name: case for name, case in CASES.items() if case.breaks_at is not None}
steady_ones = {name: case for name, case in CASES.items() if not case.random}
random_ones = {name: case for name, case in CASES.items() if case.random}


def attacked(case, seed=0, module=None, **options):
    module = module or Linear()
    images, labels = images_for(module.eval())
    victim = victim_of(module, **options)
    return images, labels, case.attack(victim, images, labels, case.epsilons, generator(seed))


def assert_breaks(attack, epsilon):
    """Accuracy on the linear toy, which is 1, drops to below 0.95."""
    module = Linear().eval()
    images, labels = images_for(module)
    result = attack(victim_of(module), images, labels, [epsilon], generator())
    with torch.no_grad():
        decided = module(result.images[0]).argmax(1)
    assert (decided == labels).float().mean() < 0.95
    assert torch.equal(result.misclassified[0], decided != labels)
    assert torch.equal(result.prediction[0], decided)


@every_attack
def test_images_stay_in_bounds_and_in_the_ball(case):
    images, _, result = attacked(case)
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    for e, epsilon in enumerate(case.epsilons):
        change = (result.images[e] - images).flatten(1).double()
        length = {
            "linf": change.abs().amax(1),
            "l2": change.norm(dim=1),
            "l0": (change != 0).sum(1).double(),
        }.get(case.attack.norm)
        if length is not None:
            assert length.max() <= epsilon + TOLERANCE


@every_attack
def test_reported_norms_are_those_of_the_images(case):
    images, _, result = attacked(case)
    change = (result.images - images).flatten(2).double()
    torch.testing.assert_close(result.linf.double(), change.abs().amax(2), rtol=0, atol=1e-6)
    torch.testing.assert_close(result.l2.double(), change.norm(dim=2), rtol=1e-5, atol=1e-6)
    assert torch.equal(result.l0, (change != 0).sum(2))


@pytest.mark.parametrize("case", breaking.values(), ids=breaking)
def test_accuracy_drops_at_the_stated_epsilon(case):
    assert_breaks(case.attack, case.breaks_at)


def test_an_attack_that_does_nothing_does_not_pass_for_one():
    class DoNothing(Attack):
        norm = "linf"

        def _search(self, queries, epsilon, shared):
            return queries.images

    with pytest.raises(AssertionError):
        assert_breaks(DoNothing(), 0.1)


@every_attack
def test_the_neutral_epsilon_changes_nothing(case):
    images, _, result = attacked(case)
    e = case.epsilons.index(case.attack.identity_epsilon)
    assert torch.equal(result.images[e], images)
    assert not result.misclassified[e].any()
    assert not result.linf[e].any()


@every_attack
def test_one_generator_state_gives_one_result(case):
    _, _, first = attacked(case, seed=3)
    _, _, second = attacked(case, seed=3)
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.forwards, second.forwards)


@pytest.mark.parametrize("case", random_ones.values(), ids=random_ones)
def test_another_generator_gives_another_result(case):
    _, _, first = attacked(case, seed=3)
    _, _, second = attacked(case, seed=4)
    assert not torch.equal(first.images, second.images)


@every_attack
def test_the_batch_size_changes_no_result(case):
    _, _, whole = attacked(case, max_batch=128)
    _, _, pieces = attacked(case, max_batch=37)
    torch.testing.assert_close(whole.images, pieces.images, rtol=0, atol=1e-6)
    assert torch.equal(whole.misclassified, pieces.misclassified)
    if isinstance(case.attack, LBFGS):
        # scipy's optimiser stops by the last bits of sums, whose order follows the batch.
        spent, again = (result.counts.sum().item() for result in (whole, pieces))
        assert again == pytest.approx(spent, rel=0.05)
    else:
        assert torch.equal(whole.counts, pieces.counts)


@pytest.mark.parametrize("case", steady_ones.values(), ids=steady_ones)
def test_the_order_of_epsilons_matters_to_no_attack_without_randomness(case):
    _, _, result = attacked(case)
    turned = dataclasses.replace(case, epsilons=case.epsilons[::-1])
    _, _, reverse = attacked(turned)
    assert torch.equal(result.images, reverse.images.flip(0))


@every_attack
def test_the_model_is_left_as_it_was(case):
    module = Linear().eval()
    before = module.weight.detach().clone()
    attacked(case, module=module)
    assert not module.training
    assert module.weight.requires_grad
    assert module.weight.grad is None
    assert torch.equal(module.weight, before)


@every_attack
def test_an_image_that_is_wrong_from_the_start_stays_and_counts_as_broken(case):
    module = Linear().eval()
    images, labels = images_for(module)
    labels[:5] = 1 - labels[:5]
    result = case.attack(victim_of(module), images, labels, case.epsilons, generator())
    assert result.misclassified[:, :5].all()
    assert torch.equal(result.images[:, :5], images[:5].expand_as(result.images[:, :5]))
    assert (result.view[:, :5] == 0).all()
    assert (result.backwards[:, :5] == 0).all()
    assert torch.equal(result.clean_prediction[:5], 1 - labels[:5])


@every_attack
def test_the_victim_counts_every_pass_once(case):
    module = Linear().eval()
    calls = []
    module.register_forward_hook(lambda part, given, made: calls.append(len(given[0])))
    images, labels = images_for(module)
    victim = victim_of(module)
    calls.clear()
    case.attack(victim, images, labels, case.epsilons, generator())
    assert victim.forwards == sum(calls)


@every_attack
def test_a_single_epsilon_costs_what_its_rows_say(case):
    module = Linear().eval()
    images, labels = images_for(module)
    victim = victim_of(module)
    result = case.attack(victim, images, labels, case.epsilons[-1:], generator())
    assert int(result.forwards.sum()) == victim.forwards
    assert int(result.backwards.sum()) == victim.backwards
    assert (victim.backwards > 0) == (case.attack.access == "white_box")


@every_attack
def test_no_image_costs_more_gradient_passes_than_the_attack_says(case):
    module = Linear().eval()
    images, labels = images_for(module)
    result = case.attack(victim_of(module), images, labels, case.epsilons[-1:], generator())
    declared = case.attack.gradient_passes
    if not isinstance(case.attack, LBFGS):  # its line search decides
        assert result.backwards.max() <= declared
    assert (declared > 0) == (case.attack.access == "white_box")


@every_attack
def test_an_attack_is_a_printable_value_with_a_source(case):
    assert type(case.attack).__name__ in repr(case.attack)
    assert case.attack == dataclasses.replace(case.attack)
    assert case.attack.source
    assert all(isinstance(line, str) for line in case.attack.differences)
    with pytest.raises(dataclasses.FrozenInstanceError):
        case.attack.as_published = True


def bad_inputs():
    images, labels = torch.full((2, *SHAPE), 0.5), torch.tensor([0, 1])
    good = {"images": images, "labels": labels, "epsilons": [0.1], "repeats": 1}
    nan = images.clone()
    nan[0, 0, 0, 0] = torch.nan
    return {
        "outside": ({**good, "images": images + 0.6}, "images"),
        "below": ({**good, "images": images - 0.6}, "images"),
        "nan": ({**good, "images": nan}, "images"),
        "bytes": ({**good, "images": (images * 255).byte()}, "images"),
        "shape": ({**good, "images": torch.rand(2, 1, 5, 5)}, "images"),
        "no batch": ({**good, "images": torch.rand(SHAPE)}, "images"),
        "empty": ({**good, "images": images[:0], "labels": labels[:0]}, "images"),
        "too many labels": ({**good, "labels": torch.tensor([0, 1, 1])}, "labels"),
        "label too large": ({**good, "labels": torch.tensor([0, 2])}, "labels"),
        "label negative": ({**good, "labels": torch.tensor([0, -1])}, "labels"),
        "labels as numbers": ({**good, "labels": torch.tensor([0.0, 1.0])}, "labels"),
        "negative": ({**good, "epsilons": [-0.1]}, "epsilons"),
        "infinite": ({**good, "epsilons": [float("inf")]}, "epsilons"),
        "no epsilon": ({**good, "epsilons": []}, "epsilons"),
        "no repeat": ({**good, "repeats": 0}, "repeats"),
    }


@pytest.mark.parametrize(("given", "named"), bad_inputs().values(), ids=bad_inputs())
@pytest.mark.parametrize("case", [CASES["pgd_linf"], CASES["clean"]], ids=["pgd", "clean"])
def test_bad_input_is_told_in_one_line_that_names_the_argument(case, given, named):
    with pytest.raises(AttackError, match=f"argument '{named}'") as caught:
        case.attack(
            victim_of(Linear()),
            given["images"],
            given["labels"],
            given["epsilons"],
            generator(),
            repeats=given["repeats"],
        )
    assert "\n" not in str(caught.value)
