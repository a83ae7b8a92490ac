"""What training makes smaller: distances between pictures, and the two sides of a game against a discriminator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

PairLoss = Callable[[Tensor, Tensor], Tensor]

# Far below what a sample of 8 bit can show, squared.
_CHARBONNIER_EPSILON = 1e-6
# Features whose mean is smaller than this are noise; they shall not be blown up.
_LEAST_FEATURE = 1e-3


def charbonnier(x: Tensor, y: Tensor) -> Tensor:
    """L1 with a rounded tip: the mean of sqrt((x - y)² + 1e-6), for pictures in [0, 1]."""
    return torch.sqrt((x - y) ** 2 + _CHARBONNIER_EPSILON).mean()


LOSSES: Mapping[str, PairLoss] = MappingProxyType(
    {"l1": functional.l1_loss, "mse": functional.mse_loss, "charbonnier": charbonnier}
)
"""Distances of two tensors of one shape by name, each the mean over all samples."""


@dataclass(frozen=True, slots=True)
class AdversarialLoss:
    """The two sides of a game on logits (N) of true and of generated pictures, given in this order.

    ``discriminator`` is small when it tells them apart; ``generator`` when it does not. Each side's caller keeps the
    other side's gradients out. ``beliefs`` are what the discriminator believes: how probably each of the true, and each
    of the generated pictures is true (N each), or, if it compares them, truer than those of the other kind.
    """

    discriminator: PairLoss
    generator: PairLoss
    beliefs: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def _bce_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    # softplus(-x) is -log sigmoid(x), without its overflow.
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


def _bce_generator(real: Tensor, fake: Tensor) -> Tensor:
    return functional.softplus(-fake).mean()


def _bce_beliefs(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    return torch.sigmoid(real), torch.sigmoid(fake)


def _relativistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    return 0.5 * _bce_discriminator(real - fake.mean(), fake - real.mean())


def _relativistic_generator(real: Tensor, fake: Tensor) -> Tensor:
    return 0.5 * _bce_discriminator(fake - real.mean(), real - fake.mean())


def _relativistic_beliefs(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    return _bce_beliefs(real - fake.mean(), fake - real.mean())


ADVERSARIAL: Mapping[str, AdversarialLoss] = MappingProxyType(
    {
        "bce": AdversarialLoss(_bce_discriminator, _bce_generator, _bce_beliefs),
        "relativistic": AdversarialLoss(_relativistic_discriminator, _relativistic_generator, _relativistic_beliefs),
    }
)
"""``bce``: SRGAN's, -log D(real) - log(1 - D(fake)) against the non-saturating -log D(fake).

``relativistic``: ESRGAN's average, whether true pictures look truer than the mean generated one, and the reverse; half
the sum of both, for each side.
"""


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """How far a discriminator's features of generated pictures are from those of the true ones.

    The mean over layers of L1 divided by the layer's mean magnitude on true pictures, so that one weight fits any depth
    and width: 0 for equal features, around 1 for unrelated ones. It needs no network trained elsewhere.

    Args:
        real: features of true pictures, layer by layer; no gradient flows there.
        fake: features of the pictures generated in their place, of the same shapes.

    Returns:
        A scalar.

    Raises:
        ValueError: there are no features, or not as many of one as of the other.
    """
    if not real:
        raise ValueError("got no features to match")
    parts = [_relative_l1(truth.detach().float(), made.float()) for truth, made in zip(real, fake, strict=True)]
    return torch.stack(parts).mean()


def _relative_l1(truth: Tensor, made: Tensor) -> Tensor:
    return functional.l1_loss(made, truth) / truth.abs().mean().clamp_min(_LEAST_FEATURE)
