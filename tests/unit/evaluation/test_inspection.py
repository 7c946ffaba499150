"""What is measured of a victim before any attack."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from assay.attacks.autoattack import AutoAttack
from assay.attacks.catalogue import attack_named
from assay.attacks.fgsm import FGSM
from assay.attacks.pgd import PGD
from assay.attacks.square import Square
from assay.attacks.victim import Victim, View
from assay.attacks.views import bpda, eot, freeze
from assay.evaluation.inspection import depends_on_neighbours, inspect_victim
from assay.evaluation.library import evaluate
from assay.foundation.errors import AttackError

SHAPE = (1, 8, 8)
IMAGES = torch.rand(60, *SHAPE, generator=torch.Generator().manual_seed(1))


def network(classes=3, seed=1):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, classes)
        ).eval()


NET = network()
LABELS = NET(IMAGES).argmax(1)


class Of(nn.Module):
    """A module that calls a function of a network and images."""

    def __init__(self, function, net=None):
        super().__init__()
        self.net, self.function = net or network(), function

    def forward(self, images):
        return self.function(self.net, images)


def rows_of(model, attacks=None, epsilons=(0.1,), **options):
    if isinstance(model, nn.Module):
        model.eval()
    return evaluate(model, IMAGES, LABELS, attacks or {"pgd": PGD(steps=10)}, epsilons, **options)


def accuracy(rows, attack="pgd"):
    return 1 - rows[rows.attack == attack].misclassified.mean()


def audit_of(model, **options):
    return rows_of(model, **options).attrs["audit"]


def texts(audit):
    return " ".join(f"{finding['what']}; {finding['remedy']}" for finding in audit["findings"])


def test_an_ordinary_network_is_sound_and_nothing_is_said(capsys):
    rows = rows_of(NET)
    audit = rows.attrs["audit"]
    assert (audit["verdict"], audit["findings"], audit["stochastic"]) == ("sound", [], False)
    assert audit["gradients"]["model"]["right"] == 1.0
    assert 0 < audit["passes"] <= 320
    assert "gradient" not in capsys.readouterr().err


# --- gradients ----------------------------------------------------------------------------------


def quantised(net, x):
    return net((x * 7).round() / 7)


def sorted_by_rank(net, x):
    flat = x.flatten(1)
    return net((flat.argsort(1).argsort(1).float() / 64).view_as(x))


def thresholded(net, x):
    return net((x > 0.5).float())


def cut_in_the_middle(net, x):
    return net[3](net[2](net[1](net[0](x)).detach()))


def returned_as_numpy(net, x):
    return net(x.detach()).detach().numpy()


def partly_cut(net, x):
    return net(0.2 * x + 0.8 * x.detach().square()) + net(x.flip(-1).detach())


@pytest.mark.parametrize(
    "function",
    [quantised, sorted_by_rank, thresholded, cut_in_the_middle, returned_as_numpy, partly_cut],
)
def test_a_gradient_that_is_missing_or_wrong_is_found_or_gone_around(function, capsys):
    rows = rows_of(Of(function))
    audit = rows.attrs["audit"]
    assert "gradient" in texts(audit)
    assert "gradient" in capsys.readouterr().err
    gone_around = any("BPDA" in finding["what"] for finding in audit["findings"])
    assert audit["verdict"] in ("suspect", "broken") or gone_around


def test_a_quantiser_is_attacked_through_the_network_behind_it():
    kept = accuracy(rows_of(Of(quantised), epsilons=[0.3]))
    assert kept <= accuracy(rows_of(NET, epsilons=[0.3])) + 0.1


def test_a_module_that_cannot_be_differentiated_still_meets_attacks_without_gradients():
    class Arrays(nn.Module):
        def forward(self, images):
            flat = images.numpy().reshape(len(images), -1)  # fails where a gradient is asked for
            return torch.from_numpy(flat[:, :3] @ np.eye(3, dtype=np.float32))

    labels = IMAGES.flatten(1)[:, :3].argmax(1)
    square = {"square": Square(queries=60), "pgd": PGD(steps=3)}
    rows = evaluate(Arrays().eval(), IMAGES, labels, square, [0.2])
    assert rows.attrs["audit"]["verdict"] == "broken"
    assert accuracy(rows, "square") < 0.7
    assert "Can't call numpy()" in texts(rows.attrs["audit"])


def test_a_right_gradient_passes_at_any_scale_of_the_logits_and_in_float64():
    for scale in (1e-3, 1.0, 1e4):
        audit = audit_of(Of(lambda net, x, s=scale: s * net(x)))
        assert audit["gradients"]["model"]["right"] == 1.0, scale
    assert audit_of(network().double())["gradients"]["model"]["right"] == 1.0


# --- randomness ---------------------------------------------------------------------------------


def noisy_logits(net, x):
    logits = net(x)
    return logits + 0.4 * logits.std() * torch.randn_like(logits)


def dropout_by_design(net, x):
    return net(nn.functional.dropout(x, 0.1, training=True))


def noise_of_numpy(net, x):
    return net(x + torch.from_numpy(np.random.normal(0, 0.2, x.shape)).float())  # noqa: NPY002


def noise_of_python(net, x):
    return net(x + 0.2 * random.gauss(0, 1))


def random_resize(net, x):
    size = int(torch.randint(6, 9, ()))
    small = nn.functional.interpolate(x, size=(size, size))
    return net(nn.functional.interpolate(small, size=(8, 8)))


def noise_by_batch_size(net, x):
    return net(x + torch.randn(len(x), 1, 8, 8) / len(x) ** 0.5)


@pytest.mark.parametrize(
    "function",
    [noisy_logits, dropout_by_design, noise_of_numpy, noise_of_python, random_resize,
     noise_by_batch_size],
)  # fmt: skip
def test_undeclared_randomness_is_measured_judged_by_repeats_and_repeatable(function):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (rows_of(Of(function), seed=3) for _ in range(2))
    assert first.attrs["audit"]["stochastic"]
    assert first.drop(columns="scores").equals(second.drop(columns="scores"))
    clean = first[first.attack == "clean"]
    assert (clean.forwards == 20).all()  # repeated evaluations, which deterministic models lack
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_numbers_of_a_generator_of_the_modules_own_are_repeated_too():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.numbers = network(), np.random.default_rng(0)

        def forward(self, x):
            return self.net(x + torch.from_numpy(self.numbers.normal(0, 0.3, x.shape)).float())

    model = Own().eval()
    first, second = (rows_of(model) for _ in range(2))
    assert first.attrs["audit"]["stochastic"]
    assert not first.attrs["audit"]["repeatable"]
    assert first.drop(columns="scores").equals(second.drop(columns="scores"))


@pytest.mark.parametrize("hidden", [False, True])
def test_predictions_that_flip_in_5_percent_of_the_cases_are_found_in_99_of_100_tries(hidden):
    numbers = torch.Generator().manual_seed(7)  # one that no inspection sees
    net = network()

    def flipping(images):
        repeated = torch.rand(len(images), generator=numbers if hidden else None)
        logits = net(images)
        return torch.where((repeated < 0.05)[:, None], logits.roll(1, dims=1), logits)

    tries = range(100) if hidden else range(5)
    found = 0
    for attempt in tries:
        victim = Victim(logits=flipping, classes=3, shape=SHAPE, device="cpu")
        images = torch.rand(64, *SHAPE, generator=torch.Generator().manual_seed(attempt))
        found += inspect_victim(victim, images, seed=attempt, declared=False).stochastic
    assert found >= 0.99 * len(tries)


def test_an_attack_without_expectation_on_a_random_model_is_told_and_one_with_is_not():
    assert "eot_samples=20" in texts(audit_of(Of(noisy_logits)))
    rand = AutoAttack(version="rand", steps=2, expectation=2)
    for many in (PGD(steps=3, eot_samples=10), rand):
        assert "eot_samples=20" not in texts(audit_of(Of(noisy_logits), attacks={"many": many}))


def test_a_declaration_that_the_measurement_contradicts_is_an_error():
    def noisy(images, generator):
        return NET(images) + torch.randn((len(images), 3), generator=generator)

    def victim(**options):
        return Victim(classes=3, shape=SHAPE, device="cpu", **options)

    with pytest.raises(AttackError, match="victim 'stochastic': it is declared deterministic"):
        rows_of(victim(logits=noisy))
    with pytest.raises(AttackError, match="victim 'stochastic': it is declared stochastic"):
        rows_of(victim(logits=NET, stochastic=True))
    views = {"noisy": View(noisy, deterministic=True)}
    with pytest.raises(AttackError, match="view 'noisy': it is declared deterministic"):
        rows_of(victim(logits=noisy, stochastic=True, views=views))

    def repeated_logits(images, n, generator):
        return noisy(images, generator)[None].expand(n, -1, -1)

    with pytest.raises(
        AttackError, match="victim 'repeated_logits': all samples of an image are equal"
    ):
        rows_of(victim(logits=noisy, stochastic=True, repeated_logits=repeated_logits))
    assert rows_of(victim(logits=noisy, stochastic=True)).attrs["audit"]["stochastic"]


# --- outputs ------------------------------------------------------------------------------------


def confident(net, x):
    return 500 * net(x)


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (lambda net, x: confident(net, x).softmax(1), "probabilities"),
        (lambda net, x: nn.functional.softmax(confident(net, x), dim=1), "probabilities"),
        (lambda net, x: {"logits": torch.softmax(confident(net, x), 1)}, "probabilities"),
        (lambda net, x: confident(net, x).log_softmax(1), None),
        (lambda net, x: confident(net, x) / 0.01, None),
    ],
)
def test_an_evaluation_of_other_outputs_is_that_of_the_logits(function, word):
    wanted = rows_of(Of(confident), epsilons=[0.05])
    rows = rows_of(Of(function), epsilons=[0.05])
    assert accuracy(rows) <= accuracy(wanted) + 0.03
    assert word is None or word in texts(rows.attrs["audit"])
    assert rows.attrs["audit"]["verdict"] == "sound"


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (lambda net, x: confident(net, x).clamp(-1, 1), "clipping"),
        (lambda net, x: nn.functional.one_hot(net(x).argmax(1), 3), "one-hot"),
        (
            lambda net, x: (confident(net, x).softmax(1) + confident(net, x).softmax(1)) / 2,
            "change",
        ),
    ],
)
def test_outputs_whose_gradient_is_lost_are_not_sound(function, word):
    audit = audit_of(Of(function))
    assert audit["verdict"] in ("suspect", "broken")
    assert word in texts(audit)


def test_results_that_depend_on_the_batch_are_suspect():
    mean = audit_of(Of(lambda net, x: net(x - x.mean(0, keepdim=True))))
    assert mean["verdict"] == "suspect"
    assert mean["batch_dependent"]
    places = audit_of(
        Of(lambda net, x: net(x + torch.linspace(0, 0.5, len(x))[:, None, None, None]))
    )
    assert places["batch_dependent"]
    assert not places["stochastic"]


def test_what_a_search_makes_of_another_batch_size_is_no_dependence_on_neighbours():
    images = torch.rand(16, 3, 2, 2, generator=torch.Generator().manual_seed(0))

    def rounded(x):  # as a search may amplify another order of summation
        return x.flatten(1) * (1.01 if len(x) < 16 else 1.0)

    def centred(x):
        return x.flatten(1) - x.flatten(1).mean(0)

    for decide, expected in ((rounded, [False, True]), (centred, [True, True])):
        together = decide(images)
        found = [
            depends_on_neighbours(decide, images, together, torch.allclose, searches=searches)
            for searches in (True, False)
        ]
        assert found == expected


def test_accuracy_of_chance_is_told():
    rows = evaluate(NET, IMAGES, (LABELS + 1) % 3, {"fgsm": FGSM()}, [0.1])
    assert "0 of 60 unperturbed images are right" in texts(rows.attrs["audit"])


def test_a_model_of_another_range_and_images_of_another_range_are_told():
    audit = audit_of(Of(lambda net, x: net(x / 255)))
    assert "all 60 unperturbed images are predicted as class" in texts(audit)
    dark = evaluate(NET, IMAGES / 255, LABELS, {"fgsm": FGSM()}, [0.1])
    assert "divided by 255 twice" in texts(dark.attrs["audit"])
    assert {audit["verdict"], dark.attrs["audit"]["verdict"]} == {"suspect"}


# --- models that do more than predict -----------------------------------------------------------


def ascended(net, x):
    z = x.detach().clone()
    for _ in range(3):
        with torch.enable_grad():
            z.requires_grad_(True)
            (gradient,) = torch.autograd.grad(net(z).logsumexp(1).sum(), z)
        z = (z.detach() + 0.01 * gradient.sign()).clamp(0, 1)
    return net(z)


def with_func_grad(net, x):
    gradient = torch.func.grad(lambda z: net(z).logsumexp(1).sum())(x)
    return net((x + 0.01 * gradient.sign()).clamp(0, 1))


def with_backward(net, x):
    z = x.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        net(z).logsumexp(1).sum().backward()
    return net((z.detach() + 0.01 * z.grad.sign()).clamp(0, 1))


def with_its_input_as_leaf(net, x):
    with torch.enable_grad():
        x.requires_grad_(True)
        net(x).logsumexp(1).sum().backward()
    return net((x + 0.01 * x.grad.sign()).clamp(0, 1))


class Adapting(nn.Module):
    """Takes a step on its own weights for each batch, by an optimiser that it was built with."""

    def __init__(self):
        super().__init__()
        self.net = network()
        self.optimiser = torch.optim.SGD(self.net.parameters(), lr=0.05)

    def forward(self, images):
        with torch.enable_grad():
            logits = self.net(images.detach())
            entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()
            self.optimiser.zero_grad()
            entropy.backward()
            self.optimiser.step()
        return self.net(images)


@pytest.mark.parametrize(
    "model",
    [Of(ascended), Of(with_func_grad), Of(with_backward), Of(with_its_input_as_leaf), Adapting()],
    ids=["grad", "func", "backward", "leaf", "optimiser"],
)
def test_a_search_at_test_time_runs_as_it_does_outside_and_is_noticed(model):
    model.eval()
    before = [p.clone() for p in model.parameters()]
    with torch.enable_grad():
        state = {name: value.clone() for name, value in model.state_dict().items()}
        outside = model(IMAGES.clone()).argmax(1)
        model.load_state_dict(state)
    rows = rows_of(model, chunk=60)
    audit = rows.attrs["audit"]
    assert audit["searches"]
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    clean = rows[rows.attack == "clean"].clean_prediction.to_numpy()
    assert (clean == outside.numpy()).mean() > 0.95
    assert accuracy(rows) < 0.3 or audit["verdict"] in ("suspect", "broken")


def test_the_callers_images_weights_and_modes_stay_as_they_are():
    net = network()
    images, state = IMAGES.clone(), {k: v.clone() for k, v in net.state_dict().items()}
    rows_of(Of(lambda inner, x: inner(x.mul_(0.5)), net=net))
    evaluate(net, images, LABELS, {"fgsm": FGSM()}, [0.1])
    assert torch.equal(images, IMAGES)
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    "around",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", dtype=torch.bfloat16)],
    ids=["no_grad", "inference_mode", "autocast"],
)
def test_the_callers_modes_do_not_change_a_number(around):
    wanted = rows_of(NET)
    with around():
        rows = evaluate(NET, IMAGES.clone(), LABELS.clone(), {"pgd": PGD(steps=10)}, [0.1])
    assert rows.drop(columns="scores").equals(wanted.drop(columns="scores"))


def test_a_default_type_of_float64_does_not_change_a_number():
    wanted = rows_of(NET)
    torch.set_default_dtype(torch.float64)
    try:
        rows = rows_of(NET)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert rows.drop(columns="scores").equals(wanted.drop(columns="scores"))


def test_wrapped_scripted_and_half_precision_models_work():
    wanted = accuracy(rows_of(NET))
    scripted = torch.jit.trace(NET, IMAGES[:2])
    for model in (nn.DataParallel(NET), scripted, network().double(), lambda x: NET(x)):
        assert accuracy(rows_of(model)) == pytest.approx(wanted, abs=0.02)
    assert audit_of(network().bfloat16())["precision"] == "bfloat16"


# --- what the pages show ------------------------------------------------------------------------


def test_modules_and_functions_of_one_argument_are_views():
    rounded = Of(quantised).eval()
    victim = Victim(
        logits=rounded, classes=3, shape=SHAPE, device="cpu",
        views={"own": rounded, "bpda": bpda(rounded, NET), "both": bpda(View(rounded), View(NET))},
    )  # fmt: skip
    rows = rows_of(victim, epsilons=[0.3])
    assert accuracy(rows) < 0.3
    assert rows.attrs["audit"]["verdict"] == "sound"
    noisy = Of(noisy_logits).eval()
    for view in (eot(noisy, 4), freeze(noisy), eot(bpda(noisy, NET), 3)):
        victim = Victim(
            logits=noisy, classes=3, shape=SHAPE, device="cpu", stochastic=True,
            views={"view": view},
        )  # fmt: skip
        assert accuracy(rows_of(victim, epsilons=[0.3])) < 0.7


def test_a_frozen_view_repeats_torchs_global_numbers():
    frozen = freeze(Of(noisy_logits).eval())
    generator = torch.Generator()
    assert torch.equal(frozen.logits(IMAGES, generator), frozen.logits(IMAGES, generator))


def test_a_module_in_training_mode_is_refused_as_view_and_as_decision():
    training = network().train()
    for given in ({"logits": training}, {"logits": NET, "views": {"own": training}}):
        with pytest.raises(AttackError, match="'logits': the model is in training mode; call"):
            Victim(classes=3, shape=SHAPE, device="cpu", **given)


# --- cost ---------------------------------------------------------------------------------------


def test_the_inspection_costs_few_passes_however_many_images_there_are():
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).eval()
    seen = []
    net.register_forward_hook(lambda module, given, made: seen.append(len(made)))
    victim = Victim.from_module(net, classes=10, shape=(1, 28, 28))
    found = [inspect_victim(victim, torch.rand(n, 1, 28, 28)) for n in (256, 1024)]
    assert found[0].passes == found[1].passes
    # PGD of 40 steps passes 256 images 40 times forward and, at twice the cost, backward.
    assert found[0].passes < 0.02 * 256 * 40 * 3
    assert sum(seen) <= sum(each.passes for each in found)


# --- what callers pass --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model": "net.pt"}, "argument 'model': a str is no function of images"),
        ({"model": type(NET)}, "argument 'model': a type is no function of images"),
        ({"model": nn.Linear(5, 3).eval()}, "the model fails on images of shape"),
        ({"model": Of(lambda n, x: (n(x), x)).eval()}, "returned a tuple of 2, not logits"),
        ({"model": Of(lambda n, x: {"y": x}).eval()}, "a dict with the keys y, not logits"),
        ({"model": Of(lambda n, x: n(x)[:, 0]).eval()}, "it returned one number per image"),
        ({"images": IMAGES.permute(0, 2, 3, 1)}, r"pass images.permute\(0, 3, 1, 2\)"),
        ({"images": (IMAGES * 255).byte()}, "divide 8-bit images by 255"),
        ({"images": IMAGES * 255}, "values outside"),
        ({"images": list(IMAGES)}, "argument 'images': a list is no tensor"),
        ({"images": np.array(["a"])}, "argument 'images'"),
        ({"labels": torch.eye(3)[LABELS]}, r"pass labels.argmax\(1\)"),
        ({"labels": LABELS[:, None]}, r"pass labels.flatten\(\)"),
        ({"epsilons": [[0.1], [0.1, 0.2]]}, "is not a finite number"),
        ({"labels": ["cat"] * 60}, "argument 'labels'"),
        ({"labels": LABELS.float()}, "argument 'labels'"),
        ({"labels": LABELS[:5]}, "argument 'labels'"),
        ({"attacks": [FGSM()]}, "argument 'attacks': a list is no mapping"),
        ({"attacks": {"fgsm": FGSM}}, r"'fgsm': FGSM is no attack; pass FGSM\(\)"),
        ({"attacks": {"fgsm": attack_named("fgsm")}}, "argument 'attacks': 'fgsm'"),
        ({"epsilons": [8]}, "8 is no L-infinity radius .* write '8/255'"),
        ({"epsilons": {"pgd": [0.1]}}, "there is no attack 'pgd'"),
        ({"epsilons": {}}, "no budget is given for 'fgsm'"),
        ({"epsilons": ["eight"]}, "'eight' is not a finite number"),
        ({"epsilons": None}, "None is not a finite number"),
        ({"attacks": {"pgd": PGD(norm="l2")}, "epsilons": [12.0]}, "no L2 radius .* diagonal"),
        ({"chunk": 0}, "argument 'chunk'"),
        ({"repeats": 0}, "argument 'repeats'"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_told_in_one_line(changes, line):
    given = {
        "model": NET, "images": IMAGES, "labels": LABELS, "attacks": {"fgsm": FGSM()},
        "epsilons": [0.1], **changes,
    }  # fmt: skip
    with pytest.raises(AttackError, match=line) as caught:
        evaluate(**given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "epsilons", [0.1, "8/255", ["8/255", "1e-2"], np.array([0.1]), {"fgsm": 0.1}]
)
def test_budgets_are_numbers_however_they_are_written(epsilons):
    rows = evaluate(NET, IMAGES.numpy(), LABELS.tolist(), {"fgsm": FGSM()}, epsilons)
    wanted = {"8/255": {8 / 255}, "['8/255', '1e-2']": {8 / 255, 0.01}}.get(str(epsilons), {0.1})
    assert set(rows[rows.attack == "fgsm"].epsilon) == wanted


def test_an_attack_by_the_reserved_name_is_told_and_does_not_replace_the_clean_rows():
    rows = evaluate(NET, IMAGES, LABELS, {"clean": FGSM(), "pgd": PGD(steps=2)}, [0.1])
    assert set(rows[rows.attack == "clean"].epsilon) == {0.0}
    assert "rename it" in texts(rows.attrs["audit"])
