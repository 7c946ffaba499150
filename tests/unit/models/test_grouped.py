"""Grouped networks: their sizes, and that each group is a network of its own."""

import pytest
import torch
from torch import nn

from assay.foundation.errors import ModelError
from assay.models.grouped import LAYOUTS, Decoders, Discriminators, Encoders, layout_for, log_prior

# Ju 2021, Table 2.1: encoder with its heads, one decoder, discriminator.
PARAMETERS = {
    "grey28": (142_004, 57_457, 35_841),
    "traffic32": (201_120, 173_699, 37_377),
    "svhn32": (531_920, 175_235, 152_577),
    # By hand from the public code's kernels and channels; no discriminator is printed for them.
    "abs_bethgelab": (61_616, 23_745, 35_329),
}


def size(module: nn.Module) -> int:
    return sum(item.numel() for item in module.parameters())


@pytest.mark.parametrize("name", LAYOUTS)
def test_one_group_has_as_many_parameters_as_the_printed_network(name):
    parts = [kind(LAYOUTS[name], 1) for kind in (Encoders, Decoders, Discriminators)]
    assert tuple(map(size, parts)) == PARAMETERS[name]


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("kind", [Encoders, Decoders, Discriminators])
def test_three_groups_have_three_times_as_many(name, kind):
    assert size(kind(LAYOUTS[name], 3)) == 3 * size(kind(LAYOUTS[name], 1))


@pytest.mark.parametrize("name", LAYOUTS)
def test_decoders_make_images_of_the_layout_s_shape_within_bounds(name):
    sizes = LAYOUTS[name]
    made = Decoders(sizes, 2).eval()(torch.randn(3, 2, sizes.latent_dim))
    assert made.shape == (3, 2, *sizes.shape)
    assert 0 <= made.min() <= made.max() <= 1


@pytest.mark.parametrize("kind", [Encoders, Decoders, Discriminators])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_each_group_is_a_network_of_its_own(kind, mode):
    sizes = LAYOUTS["grey28"]
    options = {} if kind is Discriminators else {"dropout": 0.0}
    together = kind(sizes, 3, **options)
    given = torch.rand(4, 3, *(sizes.shape if kind is Encoders else (sizes.latent_dim,)))
    if mode == "eval":
        # Statistics of batch normalisation that differ between groups.
        together(given)
    getattr(together, mode)()
    found = together(given)
    for k in range(3):
        single = kind(sizes, 1, **options)
        state = {}
        for (name, small), large in zip(
            single.state_dict().items(), together.state_dict().values(), strict=True
        ):
            state[name] = large.chunk(3)[k] if small.ndim else large
        single.load_state_dict(state)
        getattr(single, mode)()
        alone = single(given[:, k : k + 1])
        if kind is Encoders:
            for part, whole in zip(alone, found, strict=True):
                torch.testing.assert_close(part[:, 0], whole[:, k], rtol=1e-4, atol=1e-5)
        else:
            torch.testing.assert_close(alone[:, 0], found[:, k], rtol=1e-4, atol=1e-5)


def settled(name: str) -> Decoders:
    """Three frozen decoders whose norms are far from doing nothing, in double precision."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Decoders(LAYOUTS[name], 3, dropout=0.0).double()
        with torch.no_grad():
            for item in module.parameters():
                item += 0.05 * torch.randn_like(item)
            module(sampled(16, LAYOUTS[name].latent_dim))
    return module.eval().requires_grad_(False)


def sampled(count: int, latent_dim: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, 3, latent_dim, generator=generator, dtype=torch.float64)


def by_layers(module: Decoders, codes: torch.Tensor) -> torch.Tensor:
    made = module.layers(codes.flatten(1)[:, :, None, None])
    return made.view(len(codes), module.groups, *module.shape)


@pytest.mark.parametrize("name", LAYOUTS)
def test_frozen_decoders_and_their_derivatives_are_those_of_the_layers(name):
    module = settled(name)
    codes = sampled(4, LAYOUTS[name].latent_dim).requires_grad_()
    with torch.inference_mode():
        module(codes)
    found = []
    for decode in (module, lambda codes: by_layers(module, codes)):
        made = decode(codes)
        (gradient,) = torch.autograd.grad(made.square().sum(), codes, create_graph=True)
        (curve,) = torch.autograd.grad(gradient.square().sum(), codes)
        found.append((made.detach(), gradient.detach(), curve))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_frozen_decoders_follow_their_weights_and_statistics():
    module = settled("grey28")
    codes = sampled(4, 10)
    for changed in (module.layers[-2].weight, module.layers[3].running_var):
        before = module(codes)
        changed.mul_(2.0)
        after = module(codes)
        assert (after - before).abs().max() > 1e-3
        torch.testing.assert_close(after, by_layers(module, codes), rtol=1e-9, atol=1e-12)
    single = module.float()(codes.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single, by_layers(module, codes.float()), rtol=1e-4, atol=1e-5)


def test_one_discriminator_judges_the_codes_of_all_classes_alike():
    module = Discriminators(LAYOUTS["grey28"], 1)
    codes = torch.randn(4, 5, 10)
    found = module(codes)
    assert found.shape == (4, 5)
    for k in range(5):
        torch.testing.assert_close(module(codes[:, k : k + 1])[:, 0], found[:, k])


def test_the_log_prior_stays_finite_where_a_sigmoid_is_zero():
    logits = torch.tensor([-500.0, 0.0, 500.0])
    torch.testing.assert_close(log_prior(logits), torch.tensor([-500.0, -0.693147, 0.0]))


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 28, 28), (1, 28, 30)])
def test_images_of_another_size_are_refused_with_those_that_would_do(shape):
    with pytest.raises(ModelError, match=r"makes images of shape.*grey28 \(1, 28, 28\)"):
        layout_for(None, shape)


def test_a_layout_of_another_shape_is_refused():
    with pytest.raises(ModelError, match="svhn32 makes images of shape"):
        layout_for("svhn32", (1, 28, 28))
