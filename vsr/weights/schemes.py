"""How networks of these architectures are named elsewhere: one row per way of naming, as regular expressions.

A row maps every name of a state dict to a name of this package, or does not apply. Chains of convolutions (SRCNN,
ESPCN, ECBSR) become ``chain.K.weight``, K rising from the first layer to the last; which of them it is, the shapes say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from vsr.weights.adapted import FULL_LUMA, IMAGENET, SAME, TANH, YCBCR, Numbers

SUPPORTED = "SRCNN, sub-pixel SRCNN, ESPCN, ECBSR, SRResNet (SRGAN), RRDBNet (ESRGAN)"

_PART = r"(weight|bias)"
_ANY = r"(\w+)"


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way of naming.

    Attributes:
        family: of architectures.
        renames: pairs of an expression for a whole name, and what becomes of it.
        needs: a name without which this is not the scheme.
        numbers: that networks named so were trained on.
    """

    family: Literal["chain", "srresnet", "rrdb"]
    renames: tuple[tuple[str, str], ...]
    needs: str | None = None
    numbers: Numbers = SAME

    def renamed(self, name: str) -> str | None:
        """The name that this package has for it, None where the scheme has no such name."""
        for pattern, target in self.renames:
            match = re.fullmatch(pattern, name)
            if match:
                return match.expand(target)
        return None

    def known(self, names: Iterable[str]) -> int:
        """How many of the names it has; none where what it needs is missing."""
        names = set(names)
        return 0 if self.needs and self.needs not in names else sum(self.renamed(name) is not None for name in names)


SCHEMES = (
    # This package's own, those of BasicSR and Real-ESRGAN among them.
    Scheme("chain", ((r"body\.(\d+)\.(?!rdb)(.+)", r"chain.\1.\2"),)),
    Scheme("srresnet", ((r"((head|blocks|tail|stages|last)\..+)", r"\1"),), needs="head.0.weight"),
    Scheme("rrdb", ((r"((conv_first|body\.\d+\.rdb[123]|conv_body|conv_up1|conv_up2|conv_hr|conv_last)\..+)", r"\1"),)),
    # yjn870's SRCNN and most others, on limited luma; four layers are PyTorch's example and leftthomas, on Pillow's.
    Scheme("chain", ((rf"conv([1-4])\.{_PART}", r"chain.\1.\2"),), needs="conv4.weight", numbers=FULL_LUMA),
    Scheme("chain", ((rf"conv([1-4])\.{_PART}", r"chain.\1.\2"),)),
    Scheme("chain", ((rf"(\d+)\.{_PART}", r"chain.\1.\2"),)),
    # Lornatang's SRCNN and ESPCN; yjn870's ESPCN.
    Scheme(
        "chain",
        (
            (rf"features\.0\.{_PART}", r"chain.0.\1"),
            (rf"map\.0\.{_PART}", r"chain.1.\1"),
            (rf"reconstruction\.{_PART}", r"chain.2.\1"),
        ),
    ),
    Scheme(
        "chain",
        ((rf"feature_maps\.(\d)\.{_PART}", r"chain.\1.\2"), (rf"sub_pixel\.0\.{_PART}", r"chain.9.\1")),
    ),
    Scheme("chain", ((rf"first_part\.(\d)\.{_PART}", r"chain.\1.\2"), (rf"last_part\.0\.{_PART}", r"chain.9.\1"))),
    # Nhat-Thanh's SRCNN and ESPCN.
    Scheme(
        "chain",
        (
            (rf"patch_extraction\.{_PART}", r"chain.0.\1"),
            (rf"nonlinear_map\.{_PART}", r"chain.1.\1"),
            (rf"recon\.{_PART}", r"chain.2.\1"),
        ),
        numbers=YCBCR,
    ),
    Scheme("chain", ((rf"conv_([1-4])\.{_PART}", r"chain.\1.\2"),), numbers=YCBCR),
    # Lornatang's SRGAN, of both generations.
    Scheme(
        "srresnet",
        (
            (rf"conv(?:_block)?1\.([01])\.{_PART}", r"head.\1.\2"),
            (rf"trunk\.(\d+)\.rcb\.([01])\.{_ANY}", r"blocks.\1.first.\2.\3"),
            (rf"trunk\.(\d+)\.rcb\.2\.{_ANY}", r"blocks.\1.activation.\2"),
            (rf"trunk\.(\d+)\.rcb\.3\.{_ANY}", r"blocks.\1.second.0.\2"),
            (rf"trunk\.(\d+)\.rcb\.4\.{_ANY}", r"blocks.\1.second.1.\2"),
            (rf"conv(?:_block)?2\.([01])\.{_ANY}", r"tail.\1.\2"),
            (rf"upsampling\.(\d)\.upsample_block\.0\.{_PART}", r"stages.\1.conv.\2"),
            (rf"upsampling\.(\d)\.upsample_block\.2\.{_ANY}", r"stages.\1.activation.\2"),
            (rf"conv(?:_block)?3\.{_PART}", r"last.\1"),
        ),
    ),
    # leftthomas's SRGAN: the head is block 1, the tail 7, what enlarges 8.
    Scheme(
        "srresnet",
        (
            (rf"block1\.([01])\.{_PART}", r"head.\1.\2"),
            (rf"block([2-6])\.conv1\.{_PART}", r"blocks.\1.first.0.\2"),
            (rf"block([2-6])\.bn1\.{_ANY}", r"blocks.\1.first.1.\2"),
            (rf"block([2-6])\.prelu\.{_ANY}", r"blocks.\1.activation.\2"),
            (rf"block([2-6])\.conv2\.{_PART}", r"blocks.\1.second.0.\2"),
            (rf"block([2-6])\.bn2\.{_ANY}", r"blocks.\1.second.1.\2"),
            (rf"block7\.([01])\.{_ANY}", r"tail.\1.\2"),
            (rf"block8\.(\d)\.conv\.{_PART}", r"stages.\1.conv.\2"),
            (rf"block8\.(\d)\.prelu\.{_ANY}", r"stages.\1.activation.\2"),
            (rf"block8\.\d\.{_PART}", r"last.\1"),
        ),
        numbers=TANH,
    ),
    # sgrvinod's SRResNet.
    Scheme(
        "srresnet",
        (
            (rf"conv_block1\.conv_block\.([01])\.{_PART}", r"head.\1.\2"),
            (rf"residual_blocks\.(\d+)\.conv_block1\.conv_block\.([01])\.{_ANY}", r"blocks.\1.first.\2.\3"),
            (rf"residual_blocks\.(\d+)\.conv_block1\.conv_block\.2\.{_ANY}", r"blocks.\1.activation.\2"),
            (rf"residual_blocks\.(\d+)\.conv_block2\.conv_block\.([01])\.{_ANY}", r"blocks.\1.second.\2.\3"),
            (rf"conv_block2\.conv_block\.([01])\.{_ANY}", r"tail.\1.\2"),
            (rf"subpixel_convolutional_blocks\.(\d)\.conv\.{_PART}", r"stages.\1.conv.\2"),
            (rf"subpixel_convolutional_blocks\.(\d)\.prelu\.{_ANY}", r"stages.\1.activation.\2"),
            (rf"conv_block3\.conv_block\.0\.{_PART}", r"last.\1"),
        ),
        numbers=IMAGENET,
    ),
    # xinntao's ESRGAN as first published, before that (×4 then ×2).
    Scheme(
        "rrdb",
        (
            (r"((conv_first|conv_last)\..+)", r"\1"),
            (rf"RRDB_trunk\.(\d+)\.RDB([123])\.(conv[1-5])\.{_PART}", r"body.\1.rdb\2.\3.\4"),
            (rf"trunk_conv\.{_PART}", r"conv_body.\1"),
            (rf"upconv([12])\.{_PART}", r"conv_up\1.\2"),
            (rf"HRconv\.{_PART}", r"conv_hr.\1"),
        ),
    ),
    *(
        Scheme(
            "rrdb",
            (
                (rf"model\.0\.{_PART}", r"conv_first.\1"),
                (rf"model\.1\.sub\.(\d+)\.RDB([123])\.(conv[1-5])\.0\.{_PART}", r"body.\1.rdb\2.\3.\4"),
                (rf"model\.1\.sub\.\d+\.{_PART}", r"conv_body.\1"),
                *((rf"model\.{number}\.{_PART}", rf"{layer}.\1") for number, layer in layers),
            ),
            needs=f"model.{layers[-1][0]}.weight",
        )
        for layers in (
            ((3, "conv_up1"), (6, "conv_up2"), (8, "conv_hr"), (10, "conv_last")),
            ((3, "conv_up1"), (5, "conv_hr"), (7, "conv_last")),
        )
    ),
)

# Networks that are often taken for one of these: names that tell them, and what they are.
OTHERS = (
    (r"conv_first\.weight", r"body\.\d+\.conv1\.weight", "BasicSR's MSRResNet (residual blocks without batch norm)"),
    (r"head\.0\.weight", r"body\.\d+\.body\.0\.weight", "EDSR"),
    (r"conv_first\.weight", r"layers\.0\.residual_group\..*", "SwinIR"),
    (r"first_part\.0\.weight", r"mid_part\.0\.weight", "FSRCNN"),
)
