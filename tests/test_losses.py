"""Losses against numbers worked out by hand, and which way their gradients push."""

from __future__ import annotations

import math

import pytest
import torch

from vsr.training.losses import ADVERSARIAL, LOSSES, feature_matching

REAL = torch.tensor([2.0, -1.0, 0.5])
FAKE = torch.tensor([-0.5, 1.0, 3.0])


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


@pytest.mark.parametrize(("name", "expected"), [("l1", 0.25), ("mse", 0.125), ("charbonnier", 0.25)])
def test_distances(name: str, expected: float) -> None:
    x, y = torch.tensor([0.5, 0.25]), torch.tensor([0.0, 0.25])
    assert float(LOSSES[name](x, y)) == pytest.approx(expected, abs=1e-3)


def test_charbonnier_has_a_gradient_where_l1_has_none() -> None:
    x = torch.full((4,), 0.5, requires_grad=True)
    LOSSES["charbonnier"](x, torch.full((4,), 0.5)).backward()
    assert torch.isfinite(x.grad).all()


def test_bce_is_what_srgan_minimises() -> None:
    loss = ADVERSARIAL["bce"]
    real = -sum(log_sigmoid(x) for x in REAL.tolist()) / 3
    fake = -sum(log_sigmoid(-x) for x in FAKE.tolist()) / 3
    assert float(loss.discriminator(REAL, FAKE)) == pytest.approx(real + fake, rel=1e-5)
    expected = -sum(log_sigmoid(x) for x in FAKE.tolist()) / 3
    assert float(loss.generator(REAL, FAKE)) == pytest.approx(expected, rel=1e-5)


def test_relativistic_compares_with_the_mean_of_the_others() -> None:
    loss = ADVERSARIAL["relativistic"]
    mean_real, mean_fake = 0.5, 3.5 / 3
    real = [x - mean_fake for x in REAL.tolist()]
    fake = [x - mean_real for x in FAKE.tolist()]
    told_apart = -(sum(map(log_sigmoid, real)) + sum(log_sigmoid(-x) for x in fake)) / 6
    fooled = -(sum(log_sigmoid(-x) for x in real) + sum(map(log_sigmoid, fake))) / 6
    assert float(loss.discriminator(REAL, FAKE)) == pytest.approx(told_apart, rel=1e-5)
    assert float(loss.generator(REAL, FAKE)) == pytest.approx(fooled, rel=1e-5)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_two_sides_pull_apart(name: str) -> None:
    for side, sign in (("discriminator", 1), ("generator", -1)):
        fake = FAKE.clone().requires_grad_()
        getattr(ADVERSARIAL[name], side)(REAL, fake).backward()
        assert (fake.grad * sign > 0).all(), side


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_sure_logits_do_not_overflow(name: str) -> None:
    huge = torch.full((2,), 1e4)
    for side in ("discriminator", "generator"):
        assert torch.isfinite(getattr(ADVERSARIAL[name], side)(-huge, huge))


def test_feature_matching_is_relative() -> None:
    generator = torch.Generator().manual_seed(1)
    real = [torch.rand(2, 4, 3, 3, generator=generator), torch.rand(2, 8, generator=generator)]
    fake = [x * 1.1 for x in real]
    assert float(feature_matching(real, fake)) == pytest.approx(0.1, rel=1e-4)
    louder = feature_matching([x * 100 for x in real], [x * 100 for x in fake])
    assert float(louder) == pytest.approx(0.1, rel=1e-4)
    assert float(feature_matching(real, real)) == 0


def test_feature_matching_does_not_move_the_truth() -> None:
    real, fake = torch.ones(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    feature_matching([real], [fake]).backward()
    assert real.grad is None
    assert (fake.grad < 0).all()


def test_feature_matching_refuses() -> None:
    with pytest.raises(ValueError, match="no features"):
        feature_matching([], [])
    with pytest.raises(ValueError, match="shorter"):
        feature_matching([REAL, REAL], [FAKE])
