"""The judge of SRGAN: eight convolutions in the manner of VGG, then two dense layers.

Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR 2017
(arXiv:1609.04802), figure 4. n is 64 there; the output is that for their patches of 96 × 96.

=======  =========================  ==========  ==============
part     kernel                     activation  output
=======  =========================  ==========  ==============
conv 1   3×3, 3 → n                 LeakyReLU   96 × 96 × n
conv 2   3×3 / 2, n → n, norm       LeakyReLU   48 × 48 × n
conv 3   3×3, n → 2n, norm          LeakyReLU   48 × 48 × 2n
conv 4   3×3 / 2, 2n → 2n, norm     LeakyReLU   24 × 24 × 2n
conv 5   3×3, 2n → 4n, norm         LeakyReLU   24 × 24 × 4n
conv 6   3×3 / 2, 4n → 4n, norm     LeakyReLU   12 × 12 × 4n
conv 7   3×3, 4n → 8n, norm         LeakyReLU   12 × 12 × 8n
conv 8   3×3 / 2, 8n → 8n, norm     LeakyReLU   6 × 6 × 8n
pool     adaptive mean to 6 × 6     none        6 × 6 × 8n
dense 1  288n → 16n                 LeakyReLU   16n
dense 2  16n → 1                    none        1
=======  =========================  ==========  ==============

LeakyReLU is of slope 0.2 throughout. The pooling is not the paper's: it does nothing at 96 × 96 and makes every other
size of patch fit the dense layers. The paper's sigmoid is left to the loss, which is exact on logits.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from vsr.errors import ConfigError

NORMS = ("batch", "spectral", "none")

_SLOPE = 0.2
_POOLED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscriminatorConfig:
    """Shape of the judge; the defaults are the paper's.

    ``width`` is n: two processor cores can train 16 to 24. ``channels`` are those of the pictures. ``norm`` is
    ``"batch"``, ``"spectral"`` (on every layer, in place of batch norm) or ``"none"``.
    """

    width: int = 64
    channels: int = 3
    norm: str = "batch"


class Discriminator(nn.Module):
    """Tells true pictures (positive logits) from generated ones (negative).

    Args:
        config: its shape.

    Raises:
        ConfigError: an unknown norm, or a width below 1.
    """

    def __init__(self, config: DiscriminatorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DiscriminatorConfig()
        if config.norm not in NORMS:
            raise ConfigError(f"got the discriminator's norm {config.norm!r}, allowed are {', '.join(NORMS)}")
        if config.width < 1:
            raise ConfigError(f"got a discriminator of width {config.width}, it must be at least 1")
        n = config.width
        widths = (n, n, 2 * n, 2 * n, 4 * n, 4 * n, 8 * n, 8 * n)
        before = (config.channels, *widths)
        self.blocks = nn.ModuleList(
            _block(ins, outs, stride=1 + index % 2, norm=config.norm if index else _first_norm(config.norm))
            for index, (ins, outs) in enumerate(zip(before, widths, strict=False))
        )
        self.pool = nn.AdaptiveAvgPool2d(_POOLED)
        self.hidden = nn.Sequential(_bounded(nn.Linear(8 * n * _POOLED**2, 16 * n), config.norm), nn.LeakyReLU(_SLOPE))
        self.last = _bounded(nn.Linear(16 * n, 1), config.norm)

    def forward(self, x: Tensor) -> Tensor:
        """N×channels×H×W in [0, 1], of any size, to logits N."""
        return self.features(x)[1]

    def features(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """What it saw on the way, and its logits, in one pass.

        Args:
            x: N×channels×H×W in [0, 1].

        Returns:
            The outputs of the eight convolutions and of the first dense layer, after their activations; logits N.
        """
        seen: list[Tensor] = []
        # The layers expect numbers around zero, as their initialisation does.
        x = 2.0 * x - 1.0
        for block in self.blocks:
            x = block(x)
            seen.append(x)
        seen.append(self.hidden(self.pool(x).flatten(1)))
        logits: Tensor = self.last(seen[-1]).squeeze(1)
        return seen, logits


def _first_norm(norm: str) -> str:
    """The paper has no batch norm on the pictures themselves; a spectral norm bounds every layer."""
    return "none" if norm == "batch" else norm


def _block(ins: int, outs: int, *, stride: int, norm: str) -> nn.Sequential:
    conv = nn.Conv2d(ins, outs, 3, stride=stride, padding=1, bias=norm != "batch")
    nn.init.kaiming_normal_(conv.weight, a=_SLOPE)
    parts: list[nn.Module] = [_bounded(conv, norm)]
    if norm == "batch":
        parts.append(nn.BatchNorm2d(outs))
    return nn.Sequential(*parts, nn.LeakyReLU(_SLOPE))


def _bounded(layer: nn.Module, norm: str) -> nn.Module:
    return spectral_norm(layer) if norm == "spectral" else layer
