"""What papers report for these networks, to stand beside what was measured here.

``checked`` is False where the figure was not compared with a source when it was entered here; the page says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

SET_SIZES: Mapping[str, int] = MappingProxyType({"Set5": 5, "Set14": 14, "BSD100": 100})
"""How many pictures the published means are over; over others, nothing can be compared with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Means over test sets, as someone reports them.

    Attributes:
        models: the networks of the registry that it belongs beside, the first of them that was measured.
        scale: r.
        who: whose figures they are.
        psnr: dB by test set; BSD300's test pictures are those of BSD100.
        ssim: likewise, where reported.
        checked: somebody compared the figures with a source.
    """

    models: tuple[str, ...]
    scale: int
    who: str
    psnr: Mapping[str, float]
    ssim: Mapping[str, float] = field(default_factory=dict)
    checked: bool = False


def _sets(*values: float) -> Mapping[str, float]:
    return MappingProxyType(dict(zip(SET_SIZES, values, strict=False)))


_BICUBIC = "bicubic in the papers"
_SRCNN = "SRCNN 9-5-5 (Dong et al.)"
_ESPCN_91 = "ESPCN trained on 91 pictures (Shi et al. 2016)"
_ESPCN = "ESPCN trained on ImageNet (Shi et al. 2016)"

PUBLISHED: tuple[Published, ...] = (
    Published(models=("bicubic",), scale=2, who=_BICUBIC, psnr=_sets(33.66, 30.24)),
    Published(models=("bicubic",), scale=3, who=_BICUBIC, psnr=_sets(30.39, 27.54, 27.21)),
    Published(models=("bicubic",), scale=4, who=_BICUBIC, psnr=_sets(28.42, 26.00, 25.96)),
    Published(models=("srcnn-955", "srcnn"), scale=2, who=_SRCNN, psnr=_sets(36.66, 32.45), checked=True),
    Published(models=("srcnn-955", "srcnn"), scale=3, who=_SRCNN, psnr=_sets(32.75, 29.30, 28.41)),
    Published(models=("srcnn-955", "srcnn"), scale=4, who=_SRCNN, psnr=_sets(30.49, 27.50, 26.90)),
    Published(models=("espcn",), scale=2, who="ESPCN, retrained by others", psnr=_sets(36.64, 32.35), checked=True),
    Published(models=("espcn",), scale=3, who=_ESPCN_91, psnr=_sets(32.55, 29.08, 28.26)),
    Published(models=("espcn",), scale=3, who=_ESPCN, psnr=_sets(33.13, 29.49, 28.54)),
    Published(models=("espcn",), scale=4, who=_ESPCN, psnr=_sets(30.90, 27.73, 27.06)),
    Published(
        models=("srresnet",),
        scale=4,
        who="SRResNet, 16 blocks of 64 (Ledig et al. 2017)",
        psnr=_sets(32.05, 28.49, 27.58),
        ssim=_sets(0.9019, 0.8184, 0.7620),
        checked=True,
    ),
    Published(
        models=("srgan",),
        scale=4,
        who="SRGAN, 16 blocks of 64 (Ledig et al. 2017)",
        psnr=_sets(29.40, 26.02, 25.16),
        ssim=_sets(0.8472, 0.7397, 0.6688),
        checked=True,
    ),
    Published(
        models=("rrdb",),
        scale=4,
        who="RRDB, 23 blocks of 64, trained for PSNR (Wang et al. 2018)",
        psnr=_sets(32.73, 28.99, 27.85),
        ssim=_sets(0.9011, 0.7917, 0.7455),
        checked=True,
    ),
    Published(
        models=("esrgan",),
        scale=4,
        who="ESRGAN, 23 blocks of 64, re-implemented by others",
        psnr=_sets(30.44, 26.28, 25.33),
        ssim=_sets(0.8525, 0.6994, 0.6534),
        checked=True,
    ),
)


def published(measured: Collection[str], *, scale: int, pictures: Mapping[str, int]) -> dict[str, list[Published]]:
    """What can be compared at a scale, by the name of the measured network that it belongs beside.

    Args:
        measured: names of networks.
        scale: r.
        pictures: how many of each test set were measured; of sets that are not whole, nothing is reported.
    """
    whole = {name for name, size in SET_SIZES.items() if pictures.get(name) == size}
    found: dict[str, list[Published]] = {}
    for each in PUBLISHED:
        home = next((name for name in each.models if name in measured), None)
        if home is not None and each.scale == scale and whole & each.psnr.keys():
            psnr, ssim = ({name: part[name] for name in whole & part.keys()} for part in (each.psnr, each.ssim))
            found.setdefault(home, []).append(replace(each, psnr=psnr, ssim=ssim))
    return found
