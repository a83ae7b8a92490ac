"""Networks of these architectures with their layers called as others call them, to make state dicts from."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

N = 8  # channels, where everybody else has 64


class Add(nn.Module):
    """What goes in, plus what comes out of a body that is kept under the names of its parts."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for part in self.children():
            y = part(y)
        return x + y


class Chained(nn.Module):
    """Parts one after the other, under names of one's choice."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            x = part(x)
        return x


def three(*, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(N, N, 3, padding=1, bias=bias)


def normed() -> tuple[nn.Module, nn.Module]:
    return three(bias=False), nn.BatchNorm2d(N)


def doubling() -> Chained:
    return Chained(conv=nn.Conv2d(N, 4 * N, 3, padding=1), pixel_shuffle=nn.PixelShuffle(2), prelu=nn.PReLU())


class Generator(nn.Module):
    """SRResNet: subclasses name its parts and say what it is fed with and what it returns."""

    def parts(self) -> tuple[nn.Module, nn.Module, nn.Module, nn.Module, nn.Module]:
        """Head, blocks, tail, stages, last."""
        raise NotImplementedError

    def core(self, x: Tensor) -> Tensor:
        head, blocks, tail, stages, last = self.parts()
        y = head(x)
        result: Tensor = last(stages(y + tail(blocks(y))))
        return result


class Lornatang(Generator):
    def __init__(self, stages: int, *, first: str = "conv_block1", second: str = "conv_block2") -> None:
        super().__init__()
        self.first, self.second, self.third = first, second, second.replace("2", "3")
        self.add_module(first, nn.Sequential(nn.Conv2d(3, N, 9, padding=4), nn.PReLU()))
        self.trunk = nn.Sequential(*(Add(rcb=nn.Sequential(*normed(), nn.PReLU(), *normed())) for _ in range(2)))
        self.add_module(second, nn.Sequential(*normed()))
        self.upsampling = nn.Sequential(
            *(
                Chained(upsample_block=nn.Sequential(nn.Conv2d(N, 4 * N, 3, padding=1), nn.PixelShuffle(2), nn.PReLU()))
                for _ in range(stages)
            )
        )
        self.add_module(self.third, nn.Conv2d(N, 3, 9, padding=4))

    def parts(self) -> tuple[nn.Module, nn.Module, nn.Module, nn.Module, nn.Module]:
        part = self.get_submodule
        return part(self.first), self.trunk, part(self.second), self.upsampling, part(self.third)

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x)


class LeftThomas(Generator):
    def __init__(self, stages: int) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(3, N, 9, padding=4), nn.PReLU())
        for number in range(2, 7):
            block = Add(conv1=three(), bn1=nn.BatchNorm2d(N), prelu=nn.PReLU(), conv2=three(), bn2=nn.BatchNorm2d(N))
            self.add_module(f"block{number}", block)
        self.block7 = nn.Sequential(three(), nn.BatchNorm2d(N))
        self.block8 = nn.Sequential(*(doubling() for _ in range(stages)), nn.Conv2d(N, 3, 9, padding=4))

    def parts(self) -> tuple[nn.Module, nn.Module, nn.Module, nn.Module, nn.Module]:
        blocks = nn.Sequential(*(self.get_submodule(f"block{number}") for number in range(2, 7)))
        return self.block1, blocks, self.block7, self.block8, nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return (torch.tanh(self.core(x)) + 1) / 2


class Sgrvinod(Generator):
    def __init__(self, stages: int) -> None:
        super().__init__()
        self.conv_block1 = Chained(conv_block=nn.Sequential(nn.Conv2d(3, N, 9, padding=4), nn.PReLU()))
        self.residual_blocks = nn.Sequential(
            *(
                Add(
                    conv_block1=Chained(conv_block=nn.Sequential(three(), nn.BatchNorm2d(N), nn.PReLU())),
                    conv_block2=Chained(conv_block=nn.Sequential(three(), nn.BatchNorm2d(N))),
                )
                for _ in range(3)
            )
        )
        self.conv_block2 = Chained(conv_block=nn.Sequential(three(), nn.BatchNorm2d(N)))
        self.subpixel_convolutional_blocks = nn.Sequential(*(doubling() for _ in range(stages)))
        self.conv_block3 = Chained(conv_block=nn.Sequential(nn.Conv2d(N, 3, 9, padding=4), nn.Tanh()))

    def parts(self) -> tuple[nn.Module, nn.Module, nn.Module, nn.Module, nn.Module]:
        up = self.subpixel_convolutional_blocks
        return self.conv_block1, self.residual_blocks, self.conv_block2, up, self.conv_block3

    def forward(self, x: Tensor) -> Tensor:
        mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]
        return (self.core((x - mean) / deviation) + 1) / 2


class Dense(nn.Module):
    """A dense block; the oldest naming has each convolution in a sequence of its own."""

    def __init__(self, *, wrapped: bool) -> None:
        super().__init__()
        for number in range(5):
            conv = nn.Conv2d(N + 4 * number, 4 if number < 4 else N, 3, padding=1)
            self.add_module(f"conv{number + 1}", nn.Sequential(conv) if wrapped else conv)

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        *hidden, last = self.children()
        for conv in hidden:
            seen = torch.cat([seen, functional.leaky_relu(conv(seen), 0.2)], 1)
        result: Tensor = x + 0.2 * last(seen)
        return result


class Residual(nn.Module):
    def __init__(self, *, wrapped: bool) -> None:
        super().__init__()
        self.RDB1, self.RDB2, self.RDB3 = (Dense(wrapped=wrapped) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + 0.2 * self.RDB3(self.RDB2(self.RDB1(x)))
        return result


class Xinntao(nn.Module):
    """ESRGAN's ×4 as first published."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(3, N, 3, padding=1)
        self.RRDB_trunk = nn.Sequential(*(Residual(wrapped=False) for _ in range(2)))
        self.trunk_conv, self.upconv1, self.upconv2, self.HRconv = (three() for _ in range(4))
        self.conv_last = nn.Conv2d(N, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_first(x)
        y = y + self.trunk_conv(self.RRDB_trunk(y))
        for conv in (self.upconv1, self.upconv2):
            y = functional.leaky_relu(conv(functional.interpolate(y, scale_factor=2)), 0.2)
        result: Tensor = self.conv_last(functional.leaky_relu(self.HRconv(y), 0.2))
        return result


class Sub(nn.Module):
    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.sub = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.sub(x)
        return result


class Oldest(nn.Module):
    """ESRGAN before it was published: one sequence, whose numbers depend on how often it doubles."""

    def __init__(self, doublings: int) -> None:
        super().__init__()
        up = [part for _ in range(doublings) for part in (nn.Upsample(scale_factor=2), three(), nn.LeakyReLU(0.2))]
        trunk = Sub(*(Residual(wrapped=True) for _ in range(2)), three())
        self.model = nn.Sequential(
            nn.Conv2d(3, N, 3, padding=1), trunk, *up, three(), nn.LeakyReLU(0.2), nn.Conv2d(N, 3, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.model(x)
        return result
