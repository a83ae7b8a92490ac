"""The judge has the paper's layers at the paper's patch, and takes any other patch."""

from __future__ import annotations

import pictures  # noqa: F401 -- one thread
import pytest
import torch

from vsr.errors import ConfigError
from vsr.training.discriminator import NORMS, Discriminator, DiscriminatorConfig


def small(norm: str = "batch", channels: int = 3) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(DiscriminatorConfig(width=4, channels=channels, norm=norm))


def test_the_papers_layers() -> None:
    # k3n64s1, k3n64s2, k3n128s1 … k3n512s2 as (in, out); a batch norm in place of all biases but the first.
    layers = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    convs = sum(9 * ins * outs for ins, outs in layers) + 64
    norms = sum(2 * outs for _, outs in layers[1:])
    dense = 6 * 6 * 512 * 1024 + 1024 + 1024 + 1
    assert sum(p.numel() for p in Discriminator().parameters()) == convs + norms + dense == 23_563_649


def test_shapes_at_the_papers_patch() -> None:
    with torch.no_grad():
        seen, logits = Discriminator(DiscriminatorConfig(width=8)).features(torch.rand(2, 3, 96, 96))
    sides = (96, 48, 48, 24, 24, 12, 12, 6)
    widths = (8, 8, 16, 16, 32, 32, 64, 64)
    expected = [(2, width, side, side) for width, side in zip(widths, sides, strict=True)]
    assert [tuple(x.shape) for x in seen] == [*expected, (2, 128)]
    assert logits.shape == (2,)


def test_pooling_leaves_the_papers_patch_as_it_is() -> None:
    judge, x = small(), torch.rand(1, 32, 6, 6)
    assert torch.equal(judge.pool(x), x)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("rows", "columns"), [(96, 96), (37, 61), (128, 24), (16, 16)])
def test_any_size(norm: str, rows: int, columns: int) -> None:
    logits = small(norm)(torch.rand(3, 3, rows, columns))
    assert logits.shape == (3,)
    assert torch.isfinite(logits).all()


def test_luma() -> None:
    assert small(channels=1)(torch.rand(2, 1, 40, 40)).shape == (2,)


def test_one_pass_gives_both() -> None:
    judge, x = small().eval(), torch.rand(2, 3, 48, 48)
    assert torch.equal(judge(x), judge.features(x)[1])


def test_spectral_norm_bounds_every_layer() -> None:
    judge = small("spectral").train()
    for _ in range(40):
        judge(torch.rand(1, 3, 8, 8))
    weights = [m.weight.detach() for m in judge.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(weights) == 10
    for weight in weights:
        assert float(torch.linalg.matrix_norm(weight.flatten(1), 2)) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("norm", NORMS)
def test_it_learns_to_tell_two_kinds_apart(norm: str) -> None:
    judge = small(norm)
    optimizer = torch.optim.Adam(judge.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(3)
    for _ in range(30):
        rough = torch.rand(4, 3, 16, 16, generator=generator)
        flat = rough.mean(dim=(2, 3), keepdim=True).expand_as(rough)
        loss = torch.nn.functional.softplus(-judge(rough)).mean() + torch.nn.functional.softplus(judge(flat)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.8


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DiscriminatorConfig(norm="layer"), "'layer', allowed are batch, spectral, none"),
        (DiscriminatorConfig(width=0), "width 0"),
    ],
)
def test_refuses(config: DiscriminatorConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Discriminator(config)
