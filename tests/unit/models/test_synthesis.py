"""Analysis by synthesis: energies, the search and its early end, views, training, the bound."""

import itertools

import pytest
import torch
from torch.nn import functional

from assay.attacks.latent_descent import LatentDescent
from assay.attacks.pgd import PGD
from assay.foundation.errors import ModelError
from assay.models.class_search import SearchLimits, no_class_catches_up
from assay.models.latent import kl_to_standard
from assay.models.synthesis import AnalysisBySynthesis
from assay.models.synthesis_loss import images_of_other_classes

SHAPE, CLASSES, N = (1, 28, 28), 3, 6
LETTERS = list(itertools.product([False, True], repeat=3))


def model(adversarial=False, discriminative=False, variational=False, **settings):
    """An untrained model whose decoders depend strongly on their codes."""
    settings = {"candidates": 40, "steps": 15, "stop_early": False, **settings}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = AnalysisBySynthesis(
            classes=CLASSES,
            shape=SHAPE,
            adversarial=adversarial,
            discriminative=discriminative,
            variational=variational,
            **settings,
        )
    with torch.no_grad():
        for name, item in made.decoders.named_parameters():
            if item.ndim == 4:
                item.mul_(2.0)
            elif name.endswith("bias"):
                item.add_(0.1)
    return made.eval()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    """Imitations of random codes, with noise: the classes' energies differ."""
    made = model()
    with torch.no_grad():
        codes = torch.randn(N, CLASSES, 10, generator=seeded(1))
        sampled = made.decoders(codes)[torch.arange(N), torch.arange(N) % CLASSES]
    return (sampled + 0.05 * torch.rand(sampled.shape, generator=seeded(2))).clamp(0, 1)


@pytest.fixture
def labels():
    return torch.arange(N) % CLASSES


@pytest.mark.parametrize(("a", "d", "v"), LETTERS)
def test_every_ablation_decides_trains_and_can_be_attacked(a, d, v, images, labels):
    made = model(a, d, v, steps=3, candidates=5)
    logits = made.logits(images, seeded())
    assert logits.shape == (N, CLASSES)
    assert made.stochastic == v
    assert torch.equal(logits, made.logits(images, seeded()))
    parts = made.train().training_loss(images, labels, seeded())
    assert all(part.shape == (N,) and part.isfinite().all() for part in parts.values())
    assert ("discriminator" in parts) == a
    assert ("discrimination" in parts) == d
    parts["total"].sum().backward()
    for name, item in made.named_parameters():
        assert item.grad.isfinite().all(), name
    victim = made.eval().victim()
    for view in victim.views.values():
        _, predicted, gradient = victim.gradient(
            view, images, labels, lambda z, y: -z.gather(1, y[:, None]).squeeze(1), seeded()
        )
        assert predicted.shape == (N, CLASSES)
        assert gradient.isfinite().all()
        assert gradient.abs().amax(dim=(1, 2, 3)).min() > 0


def test_the_energy_is_the_squared_error_and_the_weighted_prior(images):
    made = model(beta=0.7)
    codes = torch.randn(N, CLASSES, 1, 10, generator=seeded(3))
    with torch.no_grad():
        found = made.energy(images, codes, None)
        sampled = made.decoders(codes[:, :, 0])
    for b, k in itertools.product(range(N), range(CLASSES)):
        error = (images[b] - sampled[b, k]).square().sum()
        expected = error + 0.7 * codes[b, k].square().sum() / 2
        torch.testing.assert_close(found[b, k], expected)


def test_the_search_begins_at_the_best_candidate_by_itself_for_each_class(images):
    made = model()
    start = made.initial_codes(images)
    pool = torch.randn(int(40 / 0.9), 10, generator=seeded(0))
    pool = pool[pool.norm(dim=1).argsort()[:40].sort().values]
    with torch.no_grad():
        every = torch.stack(
            [made.energy(images, code.expand(N, CLASSES, 1, 10), None) for code in pool]
        )
        own, _ = made.encoder_energy(images)
        lowest = torch.minimum(every.amin(dim=0), own)
        torch.testing.assert_close(made.energy(images, start, None), lowest, rtol=1e-4, atol=1e-3)


def test_candidates_that_do_not_fit_are_made_anew_with_the_same_result(images, caplog):
    kept = model().initial_codes(images)
    small = model()
    small.limits = SearchLimits(cache_bytes=1000)
    assert torch.equal(small.initial_codes(images), kept)
    assert "made again for each batch" in caplog.text


def test_candidates_are_made_anew_when_the_weights_have_changed(images):
    made = model()
    made.logits(images)
    with torch.no_grad():
        made.decoders.layers[0].bias.add_(1.0)
    fresh = model()
    with torch.no_grad():
        fresh.decoders.layers[0].bias.add_(1.0)
    assert torch.equal(made.logits(images), fresh.logits(images))


def test_the_search_is_adam_s(images):
    made = model(steps=12)
    leaf = made.initial_codes(images).clone().requires_grad_()
    adam = torch.optim.Adam([leaf], lr=made.rate)
    for _ in range(12):
        adam.zero_grad()
        made.energy(images, leaf, None).sum().backward()
        adam.step()
    with torch.no_grad():
        expected = made.energy(images, leaf, None)
    torch.testing.assert_close(made.search(images).energy, expected, rtol=1e-4, atol=1e-3)


def test_each_image_is_searched_as_if_it_were_alone(images):
    made = model()
    together = made.logits(images)
    alone = torch.cat([made.logits(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-3)


def test_pieces_of_a_batch_are_searched_like_the_whole(images):
    made = model(stop_early=True)
    whole = made.search(images)
    made.limits = SearchLimits(codes_at_once=2 * CLASSES)
    assert made.limits.images_at_once(images, CLASSES) == 2
    pieces = made.search(images)
    assert torch.equal(pieces.steps, whole.steps)
    torch.testing.assert_close(pieces.codes, whole.codes, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(pieces.energy, whole.energy, rtol=1e-4, atol=1e-3)
    assert made.search(images[:0]).codes.shape == (0, CLASSES, 1, 10)


def test_codes_stay_within_the_radius_in_every_direction(images):
    found = model(radius=1.5, steps=30, rate=0.3).search(images)
    assert found.codes.norm(dim=3).max() <= 1.5 + 1e-5
    # Clipping keeps signs (the published code does not).
    assert (found.codes < 0).any()


def test_an_image_leaves_early_only_when_no_class_can_catch_up():
    energy = torch.tensor([[1.0, 5.0, 9.0], [1.0, 5.0, 9.0], [1.0, 5.0, 9.0]])
    further = torch.tensor([[0.0, 3.9, 7.9], [0.0, 4.1, 0.0], [-9.0, 0.0, -9.0]])
    assert no_class_catches_up(energy, further).tolist() == [True, False, True]


def test_the_early_end_saves_steps_and_keeps_every_decision(images):
    whole = model(steps=60).search(images)
    early = model(steps=60, stop_early=True).search(images)
    assert torch.equal(early.energy.argmin(dim=1), whole.energy.argmin(dim=1))
    assert early.steps.float().mean() < 50
    assert (whole.steps == 60).all()


def test_a_search_works_in_inference_mode_too(images):
    made = model()
    with torch.inference_mode():
        inside = made.logits(images)
    assert torch.equal(inside, made.logits(images))


def test_the_frozen_view_agrees_with_the_decision_and_has_the_printed_gradient(images, labels):
    made = model()
    view = made.views()["frozen"]
    leaf = images.clone().requires_grad_()
    logits = view.logits(leaf, seeded())
    torch.testing.assert_close(logits, made.logits(images))
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), leaf)
    sampled = made.reconstructions(made.search(images).codes)[:, 1]
    torch.testing.assert_close(gradient, -2 * (images - sampled))


def test_a_second_look_at_nearby_images_goes_on_from_the_first(images, monkeypatch):
    made = model(warm_steps=2)
    taken = []
    search = made.search
    monkeypatch.setattr(
        made, "search", lambda *a, **k: taken.append(k.get("steps")) or search(*a, **k)
    )
    view, generator = made.views()["frozen"], seeded()
    view.logits(images, generator)
    moved = view.logits((images + 0.01).clamp(0, 1)[:4], generator)
    view.logits(1 - images, generator)
    view.logits(images, seeded())
    assert taken == [None, 2, None, None]
    full = made.logits((images + 0.01).clamp(0, 1)[:4])
    assert torch.equal(moved.argmax(dim=1), full.argmax(dim=1))


def test_far_images_are_searched_anew_beside_near_ones_and_earlier_pieces_are_remembered(
    images, monkeypatch
):
    made = model(warm_steps=2)
    made.limits = SearchLimits(near=0.5)
    searched = []
    search = made.search
    monkeypatch.setattr(
        made,
        "search",
        lambda x, *a, **k: searched.append((len(x), k.get("steps"))) or search(x, *a, **k),
    )
    view, generator = made.views()["frozen"], seeded()
    # Two pieces of a batch, then both again, moved, with an image that nobody has seen.
    view.logits(images[:3], generator)
    view.logits(images[3:], generator)
    moved = torch.cat([(images + 0.01).clamp(0, 1), 1 - images[:1]])
    together = view.logits(moved, generator)
    assert searched == [(3, None), (3, None), (1, None), (6, 2)]
    # Each row is that of its own image.
    alone = made.logits(moved)
    assert torch.equal(together.argmax(dim=1), alone.argmax(dim=1))


@pytest.mark.parametrize("adversarial", [False, True])
def test_a_gaussian_begins_with_the_encoder_s_width_at_whichever_mean_is_best(images, adversarial):
    made = model(adversarial=adversarial, discriminative=True, variational=True, candidates=200)
    start = made.initial_codes(images)
    mean, width = made.encoded(images)
    torch.testing.assert_close(start[:, :, 1], width.expand(-1, CLASSES, -1))
    # All means are compared with one width, by the energy without noise.
    means = torch.cat(
        [
            made.candidate_pool("cpu").codes.expand(N, CLASSES, -1, -1),
            mean[:, :, None].expand(-1, CLASSES, -1, -1),
        ],
        dim=2,
    )
    energies = []
    for m in range(means.shape[2]):
        codes = torch.stack([means[:, :, m], width.expand(-1, CLASSES, -1)], dim=2)
        sampled = made.decoders(codes[:, :, 0])
        error = (images[:, None] - sampled).flatten(2).square().sum(dim=2)
        energies.append(error + made.prior(codes, codes[:, :, 0]))
    best = torch.stack(energies).argmin(dim=0)
    expected = means.gather(2, best[:, :, None, None].expand(-1, -1, 1, 10)).squeeze(2)
    torch.testing.assert_close(start[:, :, 0], expected)


def test_without_the_encoder_the_search_begins_at_a_candidate(images):
    made = model(start_at_encoder=False, steps=0)
    begun = made.search(images).codes[:, :, 0]
    pool = made.candidate_pool("cpu").codes
    assert torch.cdist(begun.flatten(0, 1), pool).min(dim=1).values.max() < 1e-5
    with pytest.raises(ModelError, match="no initial latent code"):
        model(start_at_encoder=False, candidates=0)


def test_explaining_gives_each_class_s_imitation_and_its_log_likelihood(images):
    made = model(beta=0.0)
    sampled, likely = made.explain(images)
    assert sampled.shape == (N, CLASSES, *SHAPE)
    error = (images[:, None] - sampled).flatten(2).square().sum(dim=2)
    torch.testing.assert_close(likely, -error)
    assert torch.equal(likely.argmax(dim=1), made.logits(images).argmax(dim=1))
    radius = made.certified_radius(images, likely.argmax(dim=1))
    assert radius.shape == (N,)


def test_a_discriminator_that_wins_is_named():
    made = model(adversarial=True)
    assert made.diverges({"prior": 0.7}) is None
    assert "discriminator has won" in made.diverges({"prior": 50.0})
    assert model().diverges({"prior": 50.0}) is None


def test_the_unrolled_view_differentiates_through_the_search(images):
    """Against differences of its own values, where the frozen code's gradient is another one."""
    made = model(steps=0, unrolled_steps=3, candidates=0).double()
    images = images[:2].double()
    view, frozen = made.views()["unrolled"], made.views()["frozen"]
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(view.logits(leaf, seeded())[:, 1].sum(), leaf)
    (other,) = torch.autograd.grad(frozen.logits(leaf, seeded())[:, 1].sum(), leaf)
    # From a fixed start: the encoders' codes depend on the image, and are not differentiated.
    start = made.initial_codes(images)
    made.initial_codes = lambda x: start
    way = torch.randn(images.shape, generator=seeded(4), dtype=torch.float64)
    step = 1e-5
    ahead, behind = (view.logits(images + s * way, seeded())[:, 1].sum() for s in (step, -step))
    expected = (ahead - behind) / (2 * step)
    torch.testing.assert_close((gradient * way).sum(), expected, rtol=1e-3, atol=1e-3)
    assert not torch.allclose((other * way).sum(), expected, rtol=1e-2)


def test_training_a_class_by_itself_is_a_class_wise_sum(images):
    """A VAE per class, on its own images only: what another class sees changes nothing."""
    made = model(dropout=0.0)
    labels = torch.tensor([0, 0, 0, 0, 1, 2])
    whole = made.training_loss(images, labels, None)
    for k in range(CLASSES):
        mine = labels == k
        gaussian = made.encoders(images[mine][:, None].expand(-1, CLASSES, -1, -1, -1))
        kl = kl_to_standard(gaussian)[:, k]
        torch.testing.assert_close(whole["prior"][mine], kl, rtol=1e-4, atol=1e-4)
    made.zero_grad()
    whole["total"][labels == 0].sum().backward()
    weight = made.decoders.layers[0].weight.grad.chunk(CLASSES)
    assert weight[0].abs().max() > 0
    assert weight[1].abs().max() == weight[2].abs().max() == 0


def test_a_class_s_discriminator_sees_images_of_all_other_classes():
    made = model(adversarial=True)
    labels = torch.tensor([0] * 5 + [1] * 40 + [2] * 15)
    # The mean of the encoders' Gaussians says of which class the image is.
    seen = []

    def encoders(images):
        seen.append(images[..., 0, 0, 0])
        shape = (*images.shape[:2], made.latent_dim)
        return torch.zeros(shape), torch.zeros(shape)

    made.encoders.forward = encoders
    images = labels[:, None, None, None].expand(-1, *SHAPE) / 2.0
    made.training_loss(images, labels, seeded())
    own, others = ((2 * part).round().long() for part in seen)
    column = torch.arange(CLASSES).expand_as(others)
    assert torch.equal(own, column)
    assert (others != column).all()
    for k in range(CLASSES):
        share = others[:, k].bincount(minlength=CLASSES) / len(others)
        # Uniform over the other classes, however many images each has.
        assert share[torch.arange(CLASSES) != k].min() > 0.3
    made.training_loss(images, labels, seeded())
    assert torch.equal(seen[3], seen[1])
    made.training_loss(images, labels, seeded(1))
    assert not torch.equal(seen[5], seen[1])


def test_a_batch_of_one_class_has_no_other_images_to_show(images):
    made = model(adversarial=True)
    labels = torch.ones(N, dtype=torch.int64)
    chosen = images_of_other_classes(labels, torch.zeros(N, CLASSES, dtype=torch.int64), seeded())
    assert (labels[chosen] == 1).all()
    two = torch.tensor([1, 1, 1, 1, 1, 2])
    chosen = images_of_other_classes(two, torch.zeros(N, CLASSES, dtype=torch.int64), seeded())
    assert (two[chosen][:, 1] == 2).all()
    assert (two[chosen][:, 2] == 1).all()
    assert made.training_loss(images, labels, seeded())["total"].isfinite().all()


def test_the_discriminator_s_loss_reaches_nothing_else_and_nothing_else_reaches_it(images, labels):
    for d in (False, True):
        made = model(True, d, True)
        parts = made.training_loss(images, labels, seeded())
        inner = list(made.discriminators.parameters())
        outer = [*made.encoders.parameters(), *made.decoders.parameters()]
        gradients = torch.autograd.grad(
            parts["discriminator"].sum(), outer, retain_graph=True, allow_unused=True
        )
        assert all(gradient is None for gradient in gradients)
        rest = parts["total"] - parts["discriminator"]
        gradients = torch.autograd.grad(rest.sum(), inner, allow_unused=True)
        assert all(gradient is None or gradient.abs().max() < 1e-4 for gradient in gradients)


def test_the_shared_loss_is_the_printed_one(images, labels):
    made = model(True, True, True, dropout=0.0, beta=0.5, gamma=10.0)
    parts = made.training_loss(images, labels, seeded(7))
    mean, log_variance = made.encoded(images)
    generator = seeded(7)
    noise = torch.randn((1, *mean.shape), generator=generator)[0]
    codes = mean + (0.5 * log_variance).exp() * noise
    error = (images[:, None] - made.decoders(codes.expand(-1, CLASSES, -1))).flatten(2)
    error = error.square().sum(dim=2)
    seen = made.discriminators(codes).squeeze(1).sigmoid()
    sampled = torch.randn(codes.shape, generator=generator)
    real = made.discriminators(sampled).squeeze(1).sigmoid()
    expected = (
        error.gather(1, labels[:, None]).squeeze(1)
        - 0.5 * seen.log()
        + 10.0 * functional.cross_entropy(-error, labels, reduction="none")
        - 0.5 * (real.log() + (1 - seen).log())
    )
    torch.testing.assert_close(parts["total"], expected, rtol=1e-4, atol=1e-3)


def test_no_attack_beats_the_bound_where_the_search_finds_the_closest_images(images):
    """Decoders that ignore their codes: each class has one image, which any search finds."""
    made = model(beta=0.0, candidates=1, steps=1)
    with torch.no_grad():
        made.decoders.layers[0].weight.zero_()
    labels = made.logits(images).argmax(dim=1)
    bound = made.lower_bound(images, labels)
    assert (bound > 0).all()
    victim = made.victim()
    for attack in (PGD(norm="l2", steps=10), LatentDescent(norm="l2", steps=10)):
        for epsilon, beaten in ((0.999 * bound.min().item(), False), (20.0, True)):
            found = attack(victim, images, labels, [epsilon], seeded())
            assert found.misclassified.any() == beaten
    other = (labels + 1) % CLASSES
    assert (made.lower_bound(images, other) == 0).all()


class Lines(torch.nn.Module):
    """Class k makes the points c_k + z_1 v_k of a line: distances and energies are closed forms."""

    def __init__(self, seed=0):
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.groups = CLASSES
        self.centre = 0.3 + 0.4 * torch.rand(CLASSES, 784, generator=random)
        self.way = 0.05 * torch.randn(CLASSES, 784, generator=random)

    def forward(self, codes):
        made = self.centre + codes[:, :, :1] * self.way
        return made.view(len(codes), CLASSES, *SHAPE)

    def decoding(self):
        return self

    def squared(self, images, beta):
        """min_z of the squared distance + beta z^2 / 2, for (B, 784): (B, K)."""
        miss = images[:, None] - self.centre
        along = (miss * self.way).sum(dim=2)
        return miss.square().sum(dim=2) - along.square() / (self.way.square().sum(dim=1) + beta / 2)


def on_lines(beta, variational=False):
    made = model(beta=beta, steps=150, rate=0.05, candidates=200, variational=variational)
    made.decoders = Lines()
    made.encoders.requires_grad_(False)
    # Images of class 0 far out on its line: near another class by distance, dear by its prior.
    random = seeded(5)
    labels = torch.arange(12) % CLASSES
    codes = 1.5 * torch.randn(12, CLASSES, 10, generator=random)
    sampled = made.decoders(codes)[torch.arange(12), labels]
    other = made.decoders(2.5 * torch.randn(12, CLASSES, 10, generator=random))
    images = 0.6 * sampled + 0.4 * other[torch.arange(12), (labels + 1) % CLASSES]
    return made, images.clamp(0, 1), labels


def printed_bound(squared, energy, own):
    """Equation 2.7, of squared distances and energies (B, K) and the true class's distance."""
    labels = energy.argmin(dim=1, keepdim=True)
    bound = (squared - energy.gather(1, labels)) / (2 * squared.sqrt() + 2 * own[:, None])
    return bound.scatter(1, labels, torch.inf).amin(dim=1).clamp_min(0)


def test_the_bound_takes_the_least_distance_of_the_other_classes_not_their_least_energy():
    made, images, _ = on_lines(beta=8.0)
    flat = images.flatten(1)
    distance, energy = (made.decoders.squared(flat, beta) for beta in (0.0, 8.0))
    labels = energy.argmin(dim=1)
    # At the code of least energy, the distance of each class.
    miss = flat[:, None] - made.decoders.centre
    size = made.decoders.way.square().sum(dim=1)
    code = (miss * made.decoders.way).sum(dim=2) / (size + 4.0)
    at_energy = (miss - code[:, :, None] * made.decoders.way).square().sum(dim=2)
    own = at_energy.gather(1, labels[:, None]).squeeze(1).sqrt()
    right, wrong = (printed_bound(squared, energy, own) for squared in (distance, at_energy))
    found = made.lower_bound(images, labels)
    torch.testing.assert_close(found, right, rtol=1e-3, atol=1e-4)
    # The two differ, so that a bound from the code of least energy does not pass.
    assert (right > 0).float().mean() > 0.5
    assert (wrong > 1.05 * right)[right > 0].float().mean() > 0.4


def test_no_move_inside_the_bound_changes_the_decision():
    made, images, _ = on_lines(beta=4.0)
    flat = images.flatten(1)
    labels = made.decoders.squared(flat, 4.0).argmin(dim=1)
    bound = made.lower_bound(images, labels)
    certain = bound > 0
    assert certain.any()

    def decided(step):
        """After gradient steps of the given share of the bound on the closed-form energies."""
        x = flat.clone()
        for _ in range(60):
            leaf = x.clone().requires_grad_()
            energy = made.decoders.squared(leaf, 4.0)
            best = energy.scatter(1, labels[:, None], torch.inf).amin(dim=1)
            gap = energy.gather(1, labels[:, None]).squeeze(1) - best
            (gradient,) = torch.autograd.grad(gap.sum(), leaf)
            x = x + 0.1 * step * bound[:, None] * functional.normalize(gradient)
            change = x - flat
            length = change.norm(dim=1).clamp_min(1e-12)
            x = flat + change * (step * bound / length).clamp_max(1.0)[:, None]
        return made.decoders.squared(x, 4.0).argmin(dim=1)

    assert torch.equal(decided(0.999)[certain], labels[certain])
    assert not torch.equal(decided(10.0)[certain], labels[certain])


def test_a_gaussian_s_bound_takes_the_closest_single_image_of_the_other_classes():
    """A width costs squared distance, so the Gaussian of least energy stands farther away."""
    made, images, _ = on_lines(beta=0.5, variational=True)
    made.final_samples = 200
    flat = images.flatten(1)
    distance = made.decoders.squared(flat, 0.0)
    found = made.search(images, seeded(), steps=600, stop_early=False)
    labels = found.energy.argmin(dim=1)
    bound = made.lower_bound(images, labels, seeded())
    own = distance.gather(1, labels[:, None]).squeeze(1).sqrt()
    # With the energy of the true class by the search, and its distance from below: no longer.
    most = printed_bound(distance, found.energy, own)
    assert (bound <= 1.05 * most + 1e-3).all()
    assert (bound > 0).any()


@pytest.mark.parametrize("key", ["steps", "candidates", "warm_steps"])
def test_negative_settings_are_named(key):
    with pytest.raises(ModelError, match=f"settings.{key}"):
        model(**{key: -1})


@pytest.mark.parametrize(("a", "d", "v"), [(False, False, False), (True, True, True)])
def test_two_classes_are_enough(a, d, v, images):
    made = AnalysisBySynthesis(
        classes=2, shape=SHAPE, adversarial=a, discriminative=d, variational=v,
        candidates=10, steps=3,
    ).eval()  # fmt: skip
    labels = torch.arange(N) % 2
    made.train()
    assert made.training_loss(images, labels, seeded())["total"].isfinite().all()
    made.eval()
    assert made.logits(images, seeded()).shape == (N, 2)
    found = PGD(steps=2)(made.victim(), images, labels, [0.1], seeded(), repeats=2)
    assert found.images.shape == (1, N, *SHAPE)


@pytest.mark.parametrize("shape", [(1, 28, 32), (1, 32, 32), (3, 28, 28)])
def test_images_of_another_size_and_oblong_ones_are_refused_by_name(shape):
    with pytest.raises(ModelError, match=r"no network .*makes images of shape .*28"):
        AnalysisBySynthesis(classes=3, shape=shape)


def test_a_search_without_noise_is_averaged_over_no_samples_and_a_random_one_is(images):
    steady, random = model().victim(), model(True, True, True, steps=3).victim()
    assert all(view.deterministic for view in steady.views.values())
    assert [name for name, view in random.views.items() if view.deterministic] == ["encoder"]
    spent = []
    for victim in (steady, random):
        predicted = victim.logits(images, seeded()).argmax(dim=1)
        attack = PGD(steps=2, eot_samples=5, first_view=True)
        spent.append(attack(victim, images, predicted, [0.001], seeded(), repeats=2).backwards)
    assert spent[0].max() == 2
    assert spent[1].max() == 10
