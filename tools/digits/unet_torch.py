"""The U-Net as a torch module: the trainable twin of ``pbitstream.diffusion.unet``."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pbitstream.diffusion import schedule

__all__ = ["WIDTHS", "UNet", "load_unet", "named_weights"]

WIDTHS = {"e1": 24, "e2": 32, "bn": 48, "d2": 32, "d1": 28}
TIME_WIDTH = 48


class Block(nn.Module):
    """Three convolutions with a residual in the middle; time scales and shifts the middle one."""

    def __init__(self, inputs: int, width: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.add_module("in", nn.Conv2d(inputs, width, 3, stride=stride, padding=1))
        self.mid = nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Conv2d(width, outputs, 3, padding=1)
        self.film = nn.Linear(TIME_WIDTH, 2 * width)

    def forward(self, y: Tensor, tau: Tensor) -> Tensor:
        scale, shift = self.film(tau)[:, :, None, None].chunk(2, dim=1)
        h = functional.silu(self.get_submodule("in")(y))
        h = h + functional.silu((1.0 + scale) * self.mid(h) + shift)
        return functional.silu(self.out(h))


class UNet(nn.Module):
    """Predict F from c_in x_t and t; the shapes and equations stand in the NumPy twin."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Linear(64, TIME_WIDTH)
        self.e1 = Block(1, WIDTHS["e1"], 2)
        self.e2 = Block(2, WIDTHS["e2"], 8, stride=2)
        self.bn = Block(8, WIDTHS["bn"], 32, stride=2)
        self.d2 = Block(8 + 32, WIDTHS["d2"], 8)
        self.d1 = Block(2 + 8, WIDTHS["d1"], 2)
        self.head = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return F (states, 64) and d1 (states, 128) for x (states, 64), features (states, 64)."""
        tau = functional.silu(self.time(features))
        e1 = self.e1(x.reshape(-1, 1, 8, 8), tau)
        e2 = self.e2(e1, tau)
        bn = self.bn(e2, tau)
        d2 = self.d2(torch.cat([e2, up(bn)], dim=1), tau)
        d1 = self.d1(torch.cat([e1, up(d2)], dim=1), tau)
        return self.head(d1).flatten(1), d1.flatten(1)

    @torch.no_grad()
    def evaluate(
        self, x: NDArray[np.float64], t: NDArray[np.float64], batch: int = 500
    ) -> tuple[Tensor, Tensor]:
        """Return F and d1 for NumPy inputs, batch by batch and without gradients."""
        images = torch.from_numpy(x.astype(np.float32))
        features = schedule.time_features(t, schedule.time_frequencies())
        parts = zip(images.split(batch), torch.from_numpy(features.astype(np.float32)).split(batch))
        f, d1 = zip(*(self(*part) for part in parts))
        return torch.cat(f), torch.cat(d1)


def up(y: Tensor) -> Tensor:
    """Repeat each pixel 2 x 2."""
    return functional.interpolate(y, scale_factor=2, mode="nearest")


def named_weights(net: UNet) -> dict[str, NDArray[np.float32]]:
    """Return the weights under the names of a model file."""
    return {f"unet.{name}": value.numpy().copy() for name, value in net.state_dict().items()}


def load_unet(tensors: dict[str, NDArray[np.float32]]) -> UNet:
    """Build the module from the ``unet.*`` tensors of a model file."""
    net = UNet()
    net.load_state_dict(
        {name: torch.from_numpy(tensors[f"unet.{name}"].copy()) for name in net.state_dict()}
    )
    return net.requires_grad_(False)
