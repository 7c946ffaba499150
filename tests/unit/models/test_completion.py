"""Matrix completion: each estimator against a loop over single matrices with numpy's SVD."""

import numpy as np
import pytest
import torch

from assay.foundation.errors import ModelError
from assay.models.completion import (
    ESTIMATORS,
    nuclear_norm,
    rank_projection,
    soft_impute,
    usvt,
)


def problem(n=5, rows=12, columns=30, share=0.5, seed=0):
    """Smooth matrices in [-1, 1] of which a random part is known."""
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(n, rows, 2, generator=generator)
    whole = torch.tanh(left @ torch.randn(n, 2, columns, generator=generator))
    mask = torch.rand(n, rows, columns, generator=generator) < share
    return whole * mask, mask


def one_by_one(function, observed, mask):
    pairs = zip(observed.double().numpy(), mask.numpy(), strict=True)
    return torch.tensor(np.stack([function(*pair) for pair in pairs])).float()


def projected(y, known):
    u, s, v = np.linalg.svd(y, full_matrices=False)
    s[int(0.8 * min(y.shape)) :] = 0
    return np.clip((u * s) @ v / known.mean(), -1, 1)


def thresholded(y, known):
    u, s, v = np.linalg.svd(y, full_matrices=False)
    s[s < 2.02 * np.sqrt(max(y.shape) * known.mean())] = 0
    return np.clip((u * s) @ v / known.mean(), -1, 1)


def shrunk(y, amount):
    u, s, v = np.linalg.svd(y, full_matrices=False)
    return (u * np.maximum(s - amount, 0)) @ v


def imputed(y, known):
    filled, amount = y.copy(), np.linalg.svd(y, compute_uv=False)[0] / 50
    for _ in range(100):
        found = shrunk(filled, amount)
        change = np.linalg.norm((found - filled)[~known])
        size = np.linalg.norm(filled[~known])
        filled[~known] = found[~known]
        if size and change / size < 1e-3:
            break
    return np.clip(filled, -1, 1)


def regularised(y, known):
    found = np.zeros_like(y)
    for _ in range(200):
        found = shrunk(np.where(known, y, found), 0.5)
    return np.clip(found, -1, 1)


@pytest.mark.parametrize("size", [(12, 30), (30, 12), (28, 28)])
@pytest.mark.parametrize(
    ("estimator", "loop"),
    [
        (rank_projection, projected),
        (usvt, thresholded),
        (soft_impute, imputed),
        (nuclear_norm, regularised),
    ],
)
def test_many_matrices_at_once_are_each_alone(estimator, loop, size):
    observed, mask = problem(rows=size[0], columns=size[1])
    found = estimator(observed, mask)
    torch.testing.assert_close(found, one_by_one(loop, observed, mask), rtol=0, atol=2e-4)
    assert found.abs().max() <= 1


def test_a_matrix_of_an_image_keeps_25_of_32_singular_values():
    observed, mask = problem(n=1, rows=32, columns=96, share=0.3)
    found = rank_projection(observed / 10, mask)  # so that nothing is clipped
    assert int(torch.linalg.matrix_rank(found[0], rtol=1e-4)) == 25


def test_the_minimum_of_the_nuclear_norm_s_objective_fulfils_its_conditions():
    observed, mask = problem(n=3)
    observed /= 2  # so that nothing is clipped
    found = nuclear_norm(observed, mask, steps=2000)
    assert found.abs().max() < 1
    for x, y, known in zip(found, observed, mask, strict=True):
        # 2 * mask * (Y - X) is a subgradient: U V^T on the range, of norm at most 1 elsewhere.
        gradient = 2 * (y - x) * known
        u, s, v = torch.linalg.svd(x, full_matrices=False)
        r = int((s > 1e-2).sum())
        within = u[:, :r].T @ gradient @ v[:r].T
        torch.testing.assert_close(within, torch.eye(r), rtol=0, atol=5e-3)
        assert torch.linalg.matrix_norm(gradient, 2) <= 1 + 5e-3


def test_soft_impute_keeps_what_is_known_and_a_neighbour_changes_nothing():
    observed, mask = problem(n=4)
    found = soft_impute(observed, mask)
    assert torch.equal(found[mask], observed[mask])
    alone = soft_impute(observed[2:3], mask[2:3])
    torch.testing.assert_close(found[2:3], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_nothing_known_and_everything_known_are_finite(name):
    observed, mask = problem(n=2)
    nothing = ESTIMATORS[name](torch.zeros_like(observed), torch.zeros_like(mask))
    assert not nothing.any()
    assert ESTIMATORS[name](observed, torch.ones_like(mask)).isfinite().all()


def test_values_that_are_not_finite_are_told():
    observed, mask = problem(n=2)
    observed[0, 0, 0] = float("nan")
    with pytest.raises(ModelError, match="not finite cannot be completed"):
        rank_projection(observed, mask)


def test_a_decomposition_that_fails_in_single_precision_is_made_in_double(monkeypatch, caplog):
    observed, mask = problem(n=2)
    expected, plain = rank_projection(observed, mask), torch.linalg.eigh

    def fails(gram):
        if gram.dtype == torch.float32:
            raise torch.linalg.LinAlgError("did not converge")
        return plain(gram)

    monkeypatch.setattr(torch.linalg, "eigh", fails)
    torch.testing.assert_close(rank_projection(observed, mask), expected, rtol=0, atol=1e-4)
    rank_projection(observed, mask)
    first, second = (record.args[1] for record in caplog.records)  # it says so, and counts
    assert second == first + 1
    assert "did not converge" in caplog.text
