"""The co-designed denoiser as a torch module: the twin of ``pbitstream.diffusion.codesign``.

The free module has k2 = 1 and k4 = 0, so its equilibrium is its field and everything is plain
differentiable algebra::

    d1 = C^T phi(E z) + sum_m (B_m diag(S_m(t)) A_m^T + L_m) e_m        F = head(d1)
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pbitstream.diffusion import schedule, unet
from pbitstream.diffusion.codesign import LARGEST, OFFSETS, UNITS, neighbours, unit_order
from unet_torch import TIME_WIDTH, WIDTHS, Block

__all__ = ["SUBSTRATE", "Codesign", "features_of_rows"]

ROWS = schedule.SAMPLING_STEPS
#: Prefixes of the parameters that banks and interface hold; the others are digital.
SUBSTRATE = ("bank", "local", "interface")
#: Largest |x| of the free units over the calibration, once they are scaled.
SETTLED = 6.0
_PAIRS = torch.triu_indices(4, 4)
_START = {"e1": 0.5, "e2": 0.0, "bn": 0.0}  # a skip at the start; the other bands grow from 0


def features_of_rows() -> Tensor:
    """Return the time features of every schedule row, (20, 64)."""
    times, frequencies = schedule.sampling_times(), schedule.time_frequencies()
    return torch.from_numpy(schedule.time_features(times, frequencies).astype(np.float32))


class Codesign(nn.Module):
    """Predict F from c_in x_t and the schedule row; equations and orders stand in the NumPy twin.

    `rank` is that of each of the three banks; without `local` there are no bands.
    """

    def __init__(self, rank: int, *, local: bool) -> None:
        super().__init__()
        self.time = nn.Linear(64, TIME_WIDTH)
        self.e1 = Block(1, WIDTHS["e1"], 2)
        self.e2 = Block(2, WIDTHS["e2"], 8, stride=2)
        self.bn = Block(8, WIDTHS["bn"], 32, stride=2)
        self.head = nn.Conv2d(2, 1, 3, padding=1)
        self.bank = nn.ParameterDict()
        for name in unet.ENCODER:
            self.bank[f"{name}_a"] = torch.randn(UNITS, rank) / UNITS**0.5
            self.bank[f"{name}_b"] = torch.randn(UNITS, rank) / UNITS**0.5
            self.bank[f"{name}_gain"] = torch.ones(ROWS, rank)
        self.local = nn.ParameterDict()
        if local:
            for name in unet.ENCODER:
                self.local[name] = _START[name] * torch.eye(UNITS)
        self.interface = nn.ParameterDict({
            "encoder": torch.randn(4, 128) / 128**0.5,
            "transfer": 0.01 * torch.randn(16, UNITS),
        })
        self.near = torch.from_numpy(_dense(neighbours().astype(np.float32)))
        self.orders = {name: torch.from_numpy(unit_order(name)) for name in (*unet.ENCODER, "d1")}
        self.features = features_of_rows()

    def forward(self, x: Tensor, row: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return F (states, 64), d1 (states, 128), and what a device holds within +-8 besides."""
        features = self.features[row]
        tau = functional.silu(self.time(features))
        e1 = self.e1(x.reshape(-1, 1, 8, 8), tau)
        e2 = self.e2(e1, tau)
        modules = {"e1": e1, "e2": e2, "bn": self.bn(e2, tau)}
        y = torch.cat([x, features], dim=1) @ self.interface["encoder"].T
        pairs = y[:, _PAIRS[0]] * y[:, _PAIRS[1]]
        one, product = torch.ones(len(y), 1), y.prod(dim=1, keepdim=True)
        d1 = torch.cat([one, y, pairs, product], dim=1) @ self.interface["transfer"]
        held = [y, d1]
        for name, module in modules.items():
            e = module.flatten(1)[:, self.orders[name]]
            held.append(e)
            e = e.clamp(max=LARGEST)
            a, b, gain = (self.bank[f"{name}_{part}"] for part in ("a", "b", "gain"))
            d1 = d1 + (gain[row] * (e @ a)) @ b.T
            if name in self.local:
                d1 = d1 + e @ (self.local[name] * self.near).T
        planar = d1[:, torch.argsort(self.orders["d1"])]
        return self.head(planar.reshape(-1, 2, 8, 8)).flatten(1), d1, held

    @torch.no_grad()
    def evaluate(
        self, x: NDArray[np.float64], row: NDArray[np.int64], batch: int = 500
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return F and d1 for NumPy inputs, batch by batch and without gradients."""
        parts = zip(torch.from_numpy(x.astype(np.float32)).split(batch),
                    torch.from_numpy(row).split(batch))
        f, d1 = zip(*(self(*part)[:2] for part in parts))
        return torch.cat(f).double().numpy(), torch.cat(d1).double().numpy()

    def tensors(
        self, x: NDArray[np.float64], row: NDArray[np.int64]
    ) -> dict[str, NDArray[np.float32]]:
        """Return the tensors of a model file.

        Units of d1 are shifted and scaled to the mean 0 and the largest |x| `SETTLED` over the
        states given; the readout undoes both.
        """
        d1 = self.evaluate(x, row)[1]
        offset = d1.mean(axis=0)
        scale = np.abs(d1 - offset).max() / SETTLED
        digital = {f"unet.{name}": value for name, value in self.state_dict().items()
                   if not name.startswith(SUBSTRATE)}
        held = {name: value.detach().numpy().astype(np.float64) for name, value
                in self.state_dict().items() if name.startswith(SUBSTRATE)}
        found = {name: value.numpy().copy() for name, value in digital.items()}
        for name in unet.ENCODER:
            found[f"bank.{name}.a"] = held[f"bank.{name}_a"]
            found[f"bank.{name}.b"] = held[f"bank.{name}_b"] / scale
            found[f"bank.{name}.gain"] = held[f"bank.{name}_gain"]
            if name in self.local:
                found[f"local.{name}"] = _banded(held[f"local.{name}"]) / scale
        transfer = held["interface.transfer"]
        transfer[0] -= offset  # phi_0 = 1
        found["interface.encoder"] = held["interface.encoder"]
        found["interface.transfer"] = transfer / scale
        found["readout.offset"], found["readout.scale"] = offset, np.array([scale])
        # In float64, as the times decide which row a time is nearest to.
        times, frequencies = schedule.sampling_times(), schedule.time_frequencies()
        narrow = {name: np.asarray(value, np.float32) for name, value in found.items()}
        return {**narrow, "times": times, "time_frequencies": frequencies}


def _dense(bands: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (target, source) matrix of band weights (offsets, targets)."""
    matrix = np.zeros((UNITS, UNITS), bands.dtype)
    for offset, row in zip(OFFSETS, bands):
        target = np.flatnonzero(row)
        matrix[target, target + offset] = row[target]
    return matrix


def _banded(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights that a matrix (target, source) has at the neighbours' places."""
    bands = np.zeros((len(OFFSETS), UNITS))
    row, target = np.nonzero(neighbours())
    bands[row, target] = matrix[target, target + np.array(OFFSETS)[row]]
    return bands
