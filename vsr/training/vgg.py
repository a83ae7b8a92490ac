"""What VGG19 sees in a picture: the content that SRGAN and ESRGAN keep. The weights come from outside.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015
(arXiv:1409.1556), configuration E, trained on ImageNet: sixteen 3×3 convolutions with ReLU in five blocks, a pooling by
two after each block.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from vsr.errors import ConfigError, WeightsError

URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
"""Where torchvision has its weights (548 MB); torch checks the file against the hash in its name."""

_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


class VGGFeatures(nn.Module):
    """The output of one layer of VGG19; never trained.

    Args:
        layer: ``"conv5_4"`` is the fourth convolution of the fifth block, ahead of its activation (ESRGAN's choice);
            ``"relu5_4"`` or ``"relu2_2"`` are behind it (SRGAN's).
        source: a file of torchvision's weights, or ``"download"`` to have torch fetch it into its cache.

    Raises:
        ConfigError: there is no such layer.
        WeightsError: the weights cannot be read or fetched, or are of another network.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, layer: str, *, source: str) -> None:
        super().__init__()
        self.features = layers_up_to(layer)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
        self.register_buffer("deviation", torch.tensor(_DEVIATION)[:, None, None])
        state = _fetch() if source == "download" else _read(Path(source))
        own = self.features.state_dict()
        try:
            self.features.load_state_dict({name: state[f"features.{name}"] for name in own})
        except (KeyError, RuntimeError) as error:
            raise WeightsError(
                f"{source} is not VGG19 as torchvision saves it: {' '.join(str(error).split())}"
            ) from error
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """N×3×H×W RGB in [0, 1], or N×1×H×W taken for gray, to the layer's N×C×h×w."""
        result: Tensor = self.features((x - self.mean) / self.deviation)
        return result


def layers_up_to(last: str) -> nn.Sequential:
    """VGG19's layers, numbered as torchvision's ``features`` are, up to one by name; with random weights.

    Raises:
        ConfigError: there is no such layer.
    """
    layers: list[nn.Module] = []
    before = 3
    for block, (width, count) in enumerate(_BLOCKS, start=1):
        for number in range(1, count + 1):
            layers.append(nn.Conv2d(before, width, 3, padding=1))
            if last == f"conv{block}_{number}":
                return nn.Sequential(*layers)
            layers.append(nn.ReLU())
            if last == f"relu{block}_{number}":
                return nn.Sequential(*layers)
            before = width
        layers.append(nn.MaxPool2d(2))
    raise ConfigError(f"got the layer {last!r} of VGG19, allowed are conv1_1 … conv5_4 and relu1_1 … relu5_4")


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"cannot read the VGG19 weights {path}: {error}; have them from {URL}, or set gan.vgg_weight = 0"
        ) from error
    if not isinstance(state, dict):
        raise WeightsError(f"{path} holds a {type(state).__name__}, not VGG19 as torchvision saves it")
    return state


def _fetch() -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            URL, map_location="cpu", check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise WeightsError(
            f"cannot fetch the VGG19 weights from {URL}: {error}; offline, put the file into {folder} or name it in "
            "gan.vgg, or set gan.vgg_weight = 0 and use gan.feature_weight, which needs none"
        ) from error
    return state
