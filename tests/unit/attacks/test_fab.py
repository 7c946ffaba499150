"""FAB against closed forms, and its projection against general-purpose solvers."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize
from toys import SHAPE, Band, Linear, generator, images_for, victim_of

from assay.attacks.deepfool import DeepFool
from assay.attacks.fab import FAB, shortest_move
from assay.attacks.victim import Victim
from assay.foundation.errors import AttackError


class Net(torch.nn.Sequential):
    """A small network that is far from linear."""

    def __init__(self):
        torch.manual_seed(0)
        super().__init__(
            torch.nn.Flatten(), torch.nn.Linear(36, 24), torch.nn.Tanh(), torch.nn.Linear(24, 4)
        )
        with torch.no_grad():
            self[1].weight.mul_(6.0)


class Detour(torch.nn.Module):
    """Class 0; the runner-up, 1, wins where the mean is above 0.633; 2 already below 0.42."""

    def forward(self, images):
        m = images.flatten(1).mean(1) - 0.5
        return torch.stack([torch.zeros_like(m), 0.3 * m - 0.04, -0.08 - m], dim=1)


def planes(m=60, size=12, seed=0):
    """Points (some on walls), normals (some entries zero), residuals: the last ten unreachable."""
    random = torch.Generator().manual_seed(seed)
    points = torch.rand((m, size), generator=random)
    walled = torch.rand((m, size), generator=random) < 0.3
    points = torch.where(walled, points.round(), points)
    normals = torch.randn((m, size), generator=random) ** 3
    normals[torch.rand((m, size), generator=random) < 0.2] = 0.0
    sign = torch.rand(m, generator=random).sub(0.5).sign()
    reach = (normals * sign[:, None]).clamp(min=0) * (1 - points)
    reach += (-normals * sign[:, None]).clamp(min=0) * points
    share = torch.rand(m, generator=random)
    share[-10:] = 2.0
    return points, normals, sign * share * reach.sum(1), share < 1


def shortest_by_linear_program(point, normal, residual):
    """min t with -t <= d <= t, -x <= d <= 1 - x, w . d = c."""
    size = len(point)
    bound = np.block([[np.eye(size), -np.ones((size, 1))], [-np.eye(size), -np.ones((size, 1))]])
    walls = [(-x, 1 - x) for x in point]
    answer = linprog(
        np.append(np.zeros(size), 1.0),
        A_ub=bound,
        b_ub=np.zeros(2 * size),
        A_eq=np.append(normal, 0.0)[None],
        b_eq=[residual],
        bounds=[*walls, (0, None)],
    )
    assert answer.status == 0
    return answer.fun


def shortest_by_quadratic_program(point, normal, residual):
    answer = minimize(
        lambda d: 0.5 * d @ d,
        np.zeros(len(point)),
        jac=lambda d: d,
        bounds=[(-x, 1 - x) for x in point],
        constraints={
            "type": "eq",
            "fun": lambda d: normal @ d - residual,
            "jac": lambda d: normal,
        },
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert answer.success
    return np.linalg.norm(answer.x)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_move_is_as_short_as_a_solver_s_and_ends_on_the_plane(norm):
    points, normals, residuals, reachable = planes()
    moves = shortest_move(points, normals, residuals, norm)
    ends = points + moves
    assert ends.min() >= -1e-6
    assert ends.max() <= 1 + 1e-6
    covered = (normals * moves).sum(1)
    torch.testing.assert_close(covered[reachable], residuals[reachable], rtol=1e-4, atol=1e-5)
    solve = shortest_by_linear_program if norm == "linf" else shortest_by_quadratic_program
    for i in reachable.nonzero().squeeze(1).tolist():
        expected = solve(*(part[i].double().numpy() for part in (points, normals, residuals)))
        found = float(moves[i].abs().max() if norm == "linf" else moves[i].norm())
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_plane_beyond_the_box_is_approached_up_to_the_corner(norm):
    points, normals, residuals, reachable = planes()
    moves = shortest_move(points, normals, residuals, norm)[~reachable]
    upwards = normals * residuals.sign()[:, None] > 0
    corner = torch.where(upwards, 1 - points, -points) * (normals != 0)
    torch.testing.assert_close(moves, corner[~reachable], rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_move_is_nothing_where_the_normal_or_the_residual_is_and_blind_to_scale(norm):
    points, normals, residuals, _ = planes()
    assert not shortest_move(points, torch.zeros_like(normals), residuals, norm).any()
    assert not shortest_move(points, normals, torch.zeros_like(residuals), norm).any()
    moves = shortest_move(points, normals, residuals, norm)
    tiny = shortest_move(points, 1e-25 * normals, 1e-25 * residuals, norm)
    torch.testing.assert_close(tiny, moves, rtol=1e-3, atol=1e-5)


def assert_closest(attack, seed=0):
    """On the linear toy every distance is the closed form's, within a hundredth."""
    module = Linear().eval()
    images, labels = images_for(module)
    budget = 1.0 if attack.norm == "linf" else 6.0
    result = attack(victim_of(module), images, labels, [budget], generator(seed))
    weight = module.weight.detach()
    dual = weight.abs().sum() if attack.norm == "linf" else weight.norm()
    expected = module.margin(images).detach().abs() / dual
    found = result.linf[0] if attack.norm == "linf" else result.l2[0]
    assert result.misclassified.all()
    assert (found >= expected * 0.9999).all()
    assert (found <= expected * 1.01).all()
    return result


@pytest.mark.parametrize("targets", [None, 1, 9])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_distance_is_that_of_the_closed_form(norm, targets):
    assert_closest(FAB(norm=norm, steps=10, targets=targets))
    # The final search takes back what a large overshoot left.
    assert_closest(FAB(norm=norm, steps=3, targets=targets, eta=1.5))


def test_an_attack_that_does_nothing_does_not_pass_for_one():
    class DoNothing(FAB):
        def _minimal_norm(self, queries):
            return queries.images

    with pytest.raises(AssertionError):
        assert_closest(DoNothing())


@pytest.mark.parametrize(
    ("targets", "runs", "backwards"), [(None, 1, 3), (1, 1, 1), (2, 2, 1), (9, 3, 1)]
)
def test_a_step_costs_one_forward_pass_and_one_backward_pass_per_class(targets, runs, backwards):
    module = Net().eval()
    images, labels = images_for(module)
    victim = Victim.from_module(module, classes=4, shape=SHAPE)
    attack = FAB(steps=7, restarts=2, targets=targets)
    result = attack(victim, images, labels, [1.0], generator())
    assert result.misclassified.all()
    assert (result.backwards == 2 * runs * 7 * backwards).all()
    # Per run a last look, three of the final search, the clean decision and the verdict.
    assert (result.forwards == 2 * runs * 8 + 3 + 2).all()


def test_what_breaks_within_the_smallest_radius_leaves_before_the_next_run_if_it_shall():
    module = Net().eval()
    images, labels = images_for(module)
    victim = Victim.from_module(module, classes=4, shape=SHAPE)
    whole = FAB(steps=7, targets=3)(victim, images, labels, [1.0], generator())
    radius = float(whole.linf[0].median())
    attack = FAB(steps=7, targets=3, stop_within=True)
    result = attack(victim, images, labels, [2 * radius, radius], generator())
    assert torch.equal(result.misclassified[1], whole.linf[0] <= radius)
    first = FAB(steps=7, targets=1)(victim, images, labels, [1.0], generator())
    early = first.linf[0] <= 0.99 * radius
    assert early.any()
    assert (result.backwards[1][early] == 7).all()
    assert (result.backwards[1][~result.misclassified[1]] == 3 * 7).all()


@pytest.mark.parametrize(("targets", "expected"), [(1, 0.04 / 0.3), (2, 0.08), (None, 0.08)])
def test_the_closest_class_is_found_where_it_is_not_the_runner_up(targets, expected):
    images, labels = torch.full((2, *SHAPE), 0.5), torch.zeros(2, dtype=torch.int64)
    victim = Victim.from_module(Detour().eval(), classes=3, shape=SHAPE)
    result = FAB(steps=5, targets=targets)(victim, images, labels, [1.0], generator())
    torch.testing.assert_close(result.linf[0], torch.full((2,), expected), rtol=0.01, atol=0)


@pytest.mark.parametrize(("norm", "expected"), [("linf", 0.05), ("l2", 0.3)])
def test_a_restart_leaves_the_plateau_on_which_the_image_stands(norm, expected):
    images, labels = torch.full((6, *SHAPE), 0.5), torch.zeros(6, dtype=torch.int64)

    def run(restarts):
        attack = FAB(norm=norm, steps=60, restarts=restarts)
        return attack(victim_of(Band()), images, labels, [1.0], generator())

    assert not run(1).misclassified.any()
    restarted = run(2)
    assert restarted.misclassified.all()
    found = restarted.linf[0] if norm == "linf" else restarted.l2[0]
    torch.testing.assert_close(found, torch.full((6,), expected), rtol=0.05, atol=0)


class Dead(torch.nn.Module):
    """Three classes whose logits are all 0 on a black image."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inner = torch.nn.Linear(36, 32, bias=False)
        self.outer = torch.nn.Linear(32, 3, bias=False)

    def forward(self, images):
        return self.outer(torch.nn.functional.silu(self.inner(images.flatten(1))))


@pytest.mark.parametrize("attack", [FAB, DeepFool], ids=["fab", "deepfool"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("toy", ["grey", "black"])
def test_an_image_on_the_edge_itself_is_moved_across_it(attack, norm, toy):
    """The two best logits are equal: the distance to the edge is 0, and so is a step of that."""
    if toy == "grey":
        module, images, classes = Linear(), torch.full((3, *SHAPE), 0.5), 2
    else:
        module, images, classes = Dead(), torch.zeros(3, *SHAPE), 3
    victim = Victim.from_module(module.eval(), classes=classes, shape=SHAPE)
    labels = torch.zeros(3, dtype=torch.int64)
    assert not module(images).detach().any()
    result = attack(norm=norm)(victim, images, labels, [1.0], generator())
    assert result.misclassified.all()
    assert getattr(result, norm).max() < 1e-4


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_edge_that_no_pixel_can_reach_in_single_precision_is_crossed_too(norm):
    class Close(Linear):
        def margin(self, images):
            return super().margin(images.double() + 1e-9).float() - 1e-7

    module = Close().eval()
    images = torch.full((3, *SHAPE), 0.5)
    labels = module(images).argmax(1)
    result = FAB(norm=norm)(victim_of(module), images, labels, [1.0], generator())
    assert result.misclassified.all()


def test_what_was_found_is_broken_by_more_than_rounding():
    module = Net().eval()
    images, labels = images_for(module)
    victim = Victim.from_module(module, classes=4, shape=SHAPE)
    result = FAB(steps=10, targets=3)(victim, images, labels, [1.0], generator())
    with torch.no_grad():
        clean, found = module(images), module(result.images[0])
    own = labels[:, None]
    margins = clean.gather(1, own) - clean.scatter(1, own, -torch.inf).amax(1, keepdim=True)
    excess = found.scatter(1, own, -torch.inf).amax(1, keepdim=True) - found.gather(1, own)
    assert (excess > 4e-4 * margins).all()


def bad_settings():
    return {
        "norm": {"norm": "l1"},
        "steps": {"steps": 0},
        "restarts": {"restarts": 0},
        "targets": {"targets": 0},
        "alpha_max": {"alpha_max": 1.5},
        "eta": {"eta": 0.9},
        "beta": {"beta": 1.0},
    }


@pytest.mark.parametrize(("name", "settings"), bad_settings().items(), ids=bad_settings())
def test_an_impossible_setting_is_named(name, settings):
    with pytest.raises(AttackError, match=f"attack setting '{name}'"):
        FAB(**settings)
