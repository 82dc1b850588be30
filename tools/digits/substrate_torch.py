"""The denoiser without an encoder as a torch module: twin of ``pbitstream.diffusion.substrate``.

Units are scaled to k2 = 1 here, so the energy is strictly convex where J has no eigenvalue of 1 or
more. The equilibrium is found by Newton steps with conjugate gradients; its derivatives solve one
more system with the same Hessian H = 1 + 3 k4 x^2 - J::

    dL/dh = v = H^-1 dL/dx        dL/dJ = v x^T        dL/dk4 = -v x^3

All free units are one dense matrix product, the fastest form on a processor this small.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pbitstream.diffusion import schedule
from pbitstream.diffusion.codesign import OFFSETS, UNITS
from pbitstream.diffusion.substrate import OWN_OFFSETS
from pbitstream.tables import band_rows

__all__ = ["Substrate", "equilibrium", "settle"]

Values = NDArray[np.float64]
ROWS = schedule.SAMPLING_STEPS
PIXELS, SIDE, CHANNELS = 64, 8, 2
#: Iterations of conjugate gradients in each Newton step, and those of the derivatives.
PLAN, BACK = (2, 2, 4, 5), 8
#: Largest |x| over the calibration once units are scaled. At 6 the worst case of the fields, all
#: units at +-8, would not fit 32 bits.
SETTLED = 4.0
#: Largest bias at any time once energies are scaled; 8 is the end of the format.
LARGEST_BIAS = 7.5
#: A gated image is at most this times the image: 5 deviations of noise fill a clamped unit.
LOUDEST = 1.5
#: Range of k4: how far apart the paces of units may be.
SOFTEST, STIFFEST = 1.0 / 16.0, 4.0


class Substrate(nn.Module):
    """Predict F from c_in x_t and the schedule row.

    `maps` is the number of maps of 2 x 8 x 8 units, `spread` the units of the module z, `rank`
    that of each of its banks, `gates` an even number of copies of the image, `clocks` that of the
    numbers that tell the time.
    """

    def __init__(self, maps: int, spread: int, rank: int, gates: int, clocks: int) -> None:
        super().__init__()
        self.maps, self.spread, self.gate_count = maps, spread, gates
        self.local = maps * UNITS
        self.units = self.local + spread
        free, image = _places(maps), _places(gates // CHANNELS)
        self.inner, inner = _stencil(free, free)
        self.outer, outer = _stencil(free, image)
        wide, channels = maps * CHANNELS * 9, maps * CHANNELS
        # A weight is that of its stencil, which all pixels share, plus one of its own.
        self.stencil = nn.Parameter(0.15 * torch.randn(channels * wide) / wide**0.5)
        self.own = nn.Parameter(0.015 * torch.randn(len(inner)) / wide**0.5)
        self.image_stencil = nn.Parameter(torch.randn(channels * gates * 9) / (9 * gates) ** 0.5)
        self.image_own = nn.Parameter(0.1 * torch.randn(len(outer)) / (9 * gates) ** 0.5)
        self.inner_of, self.outer_of = torch.from_numpy(inner), torch.from_numpy(outer)

        def pair(count: int, size: float) -> tuple[nn.Parameter, nn.Parameter]:
            return (nn.Parameter(torch.randn(count, UNITS, rank) / UNITS**0.5),
                    nn.Parameter(size * torch.randn(count, spread, rank) / rank**0.5))

        self.map_a, self.map_b = pair(maps, 0.15)
        self.image_a, self.image_b = pair(gates // CHANNELS, 1.0)
        t = torch.from_numpy(schedule.sampling_times().astype(np.float32))
        waves = [torch.cos(n * np.pi * t) for n in range(max(gates, clocks + 1))]
        self.gates = nn.Parameter(torch.stack(waves[:gates], dim=1))
        self.clock = nn.Parameter(torch.stack(waves[1 : clocks + 1], dim=1))
        self.by_clock = nn.Parameter(0.5 * torch.randn(clocks, self.units) / clocks**0.5)
        self.bias = nn.Parameter(0.1 * torch.randn(self.units))
        self.log_k4 = nn.Parameter(torch.zeros(self.units))
        self.head = nn.Conv2d(channels, 1, 3, padding=1)

    @property
    def k4(self) -> Tensor:
        """Quartic stiffness of every unit, k2 being 1."""
        return self.log_k4.exp().clamp(SOFTEST, STIFFEST)

    def coupling(self) -> Tensor:
        """Return J of the free units, symmetric."""
        weights = self.stencil[self.inner_of] + self.own
        near = torch.zeros(self.local, self.local).index_put(self.inner, weights)
        across = torch.einsum("mzr,mir->zmi", self.map_b, self.map_a).reshape(self.spread, -1)
        upper = torch.cat([0.5 * (near + near.T), across.T], dim=1)
        lower = torch.cat([across, torch.zeros(self.spread, self.spread)], dim=1)
        return torch.cat([upper, lower])

    def drive(self) -> Tensor:
        """Return W, from the gated image to all units."""
        weights = self.image_stencil[self.outer_of] + self.image_own
        near = torch.zeros(self.local, self.gate_count * PIXELS).index_put(self.outer, weights)
        across = torch.einsum("mzr,mir->zmi", self.image_b, self.image_a)
        return torch.cat([near, across.reshape(self.spread, -1)])

    def forward(self, x: Tensor, row: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return F (states, 64), the units (states, units) and J."""
        gated = (x[:, :, None] * self.gates[row][:, None, :]).reshape(len(x), PIXELS, -1, CHANNELS)
        image = gated.transpose(1, 2).reshape(len(x), -1)
        h = self.bias + self.clock[row] @ self.by_clock + image @ self.drive().T
        j = self.coupling()
        units = equilibrium(h, j, self.k4)
        maps = units[:, : self.local].reshape(len(x), self.maps, PIXELS, CHANNELS)
        planes = maps.transpose(2, 3).reshape(len(x), -1, SIDE, SIDE)
        return self.head(planes).flatten(1), units, j

    @torch.no_grad()
    def evaluate(
        self, x: Values, row: NDArray[np.int64], batch: int = 256
    ) -> tuple[Values, Values]:
        """Return F and the units for NumPy inputs, batch by batch and without gradients."""
        parts = zip(torch.from_numpy(x.astype(np.float32)).split(batch),
                    torch.from_numpy(row).split(batch))
        f, units = zip(*(self(*part)[:2] for part in parts))
        return torch.cat(f).double().numpy(), torch.cat(units).double().numpy()

    @torch.no_grad()
    def numbers(self) -> dict[str, int]:
        """Return how many numbers the model has, by what holds them; a bank's weight is one."""
        low = sum(p.numel() for p in (self.map_a, self.map_b, self.image_a, self.image_b))
        # Each pair of units has one weight, however it is trained.
        pairs = (len(self.own) + self.local) // 2
        return {
            "band": pairs + len(self.image_own),
            "low rank": low,
            "stiffness": self.units,
            "gates and clock": self.gates.numel() + self.clock.numel(),
            "biases": self.bias.numel() + self.by_clock.numel(),
            "head": sum(p.numel() for p in self.head.parameters()),
        }

    @torch.no_grad()
    def tensors(self, x: Values, row: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Return the tensors of a model file, units scaled by the states given.

        Unit i becomes a k4_i^(1/4) times as large: then k4 is the same everywhere, which allows the
        largest step, and a is such that the largest |x| is `SETTLED`. Energies are scaled, too.
        """
        k4 = self.k4.double().numpy()
        units = self.evaluate(x, row)[1] * k4**0.25
        a = SETTLED / np.abs(units).max()
        units *= a
        scale = a * k4**0.25
        # Forces of the energy c E in scaled units; c is as large as the biases' words allow.
        told = (self.bias + self.clock @ self.by_clock).double().numpy() / scale
        energy = min(a**2, LARGEST_BIAS / np.abs(told).max())
        force = energy / scale
        j = self.coupling().double().numpy() * np.outer(force, 1.0 / scale)
        gates = self.gates.double().numpy()
        largest = np.abs(gates).max(axis=0) / LOUDEST
        louder = np.repeat(largest.reshape(-1, 1, CHANNELS), PIXELS, axis=1).reshape(-1)
        w = self.drive().double().numpy() * np.outer(force, louder)
        tensors: dict[str, Values] = {
            "gates": gates / largest,
            "clock": self.clock.double().numpy(),
            "bias": self.bias.double().numpy() * force,
            "bias.clock": self.by_clock.double().numpy() * force,
            "k2": force / scale,
            "k4": np.full(len(k4), energy / a**4),
            "x_max": np.array([np.abs(part).max() for part in
                               np.split(units, range(UNITS, self.local + 1, UNITS), axis=1)]),
            "readout.mean": units[:, : self.local].mean(axis=0),
            "head.bias": self.head.bias.double().numpy(),
        }
        names = [chr(ord("a") + n) for n in range(self.maps)]
        parts = [slice(n * UNITS, (n + 1) * UNITS) for n in range(self.maps)]
        for target, rows in zip(names, parts):
            for source, columns in zip(names, parts):
                if source == target:
                    tensors[f"band.{source}.{target}"] = _banded(j[rows, columns], OWN_OFFSETS)
                elif source < target:
                    tensors[f"band.{source}.{target}"] = _banded(j[rows, columns], OFFSETS)
            for n in range(self.gate_count // CHANNELS):
                columns = slice(n * UNITS, (n + 1) * UNITS)
                tensors[f"band.image{n}.{target}"] = _banded(w[rows, columns], OFFSETS)
        for n, (name, columns) in enumerate(zip(names, parts)):
            tensors[f"low_rank.{name}.z.a"] = _wide(self.map_a[n]) / scale[columns, None]
            tensors[f"low_rank.{name}.z.b"] = _wide(self.map_b[n]) * force[self.local :, None]
        for n in range(self.gate_count // CHANNELS):
            columns = slice(n * UNITS, (n + 1) * UNITS)
            tensors[f"low_rank.image{n}.z.a"] = _wide(self.image_a[n]) * louder[columns, None]
            tensors[f"low_rank.image{n}.z.b"] = _wide(self.image_b[n]) * force[self.local :, None]
        kernel = _wide(self.head.weight)
        # The head of a model is shared by all pixels, so units are scaled back before it.
        tensors["readout.scale"] = 1.0 / scale[: self.local]
        tensors["readout.mean"] = tensors["readout.mean"] / scale[: self.local]
        narrow = {name: np.asarray(value, np.float32) for name, value in tensors.items()}
        # In float64, as the times decide which row a time is nearest to.
        return {**narrow, "head.weight": kernel.astype(np.float32),
                "times": schedule.sampling_times()}


def settle(h: Tensor, j: Tensor, k4: Tensor) -> Tensor:
    """Return the equilibrium ``x + k4 x^3 - J x = h``, (states, units)."""
    root = (3.0 * k4).sqrt()
    x = 2.0 / root * (torch.asinh(1.5 * root * h) / 3.0).sinh()  # exact where J = 0
    for iterations in PLAN:
        bend = k4 * x * x
        x = x + _solve(j, 1.0 + 3.0 * bend, h + x @ j - (1.0 + bend) * x, iterations)
    return x


def equilibrium(h: Tensor, j: Tensor, k4: Tensor) -> Tensor:
    """Return `settle` of the same, with the derivatives of the module's docstring."""
    return _Equilibrium.apply(h, j, k4)


def _solve(j: Tensor, stiffness: Tensor, b: Tensor, iterations: int) -> Tensor:
    """Return ``(diag(stiffness) - J)^-1 b`` state by state, by conjugate gradients."""
    x, r = torch.zeros_like(b), b
    z = r / stiffness
    p, size = z, (r * z).sum(dim=1, keepdim=True)
    for _ in range(iterations):
        pushed = stiffness * p - p @ j
        along = size / (p * pushed).sum(dim=1, keepdim=True).clamp(min=1e-20)
        x, r = x + along * p, r - along * pushed
        z = r / stiffness
        now = (r * z).sum(dim=1, keepdim=True)
        p = z + now / size.clamp(min=1e-20) * p
        size = now
    return x


class _Equilibrium(torch.autograd.Function):
    """The equilibrium, and the one linear system that its derivatives need."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, j: Tensor, k4: Tensor) -> Tensor:
        x = settle(h, j, k4)
        ctx.save_for_backward(x, j, k4)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, j, k4 = ctx.saved_tensors
        v = _solve(j, 1.0 + 3.0 * k4 * x * x, grads[0], BACK)
        return v, v.T @ x, -(v * x**3).sum(dim=0)


def _places(maps: int) -> tuple[NDArray[np.int64], ...]:
    """Return channel, row and column of every unit of some maps."""
    unit = np.arange(maps * UNITS)
    pixel, channel = np.divmod(unit % UNITS, CHANNELS)
    return CHANNELS * (unit // UNITS) + channel, pixel // SIDE, pixel % SIDE


def _stencil(
    target: tuple[NDArray[np.int64], ...], source: tuple[NDArray[np.int64], ...]
) -> tuple[tuple[Tensor, Tensor], NDArray[np.int64]]:
    """Return the pairs of units at most one pixel apart, and the weight of a stencil for each."""
    down, right = (s[None, :] - t[:, None] for t, s in zip(target[1:], source[1:]))
    to, of = np.nonzero((np.abs(down) <= 1) & (np.abs(right) <= 1))
    count = source[0].max() + 1
    weight = (target[0][to] * count + source[0][of]) * 9 + 3 * down[to, of] + right[to, of] + 4
    return (torch.from_numpy(to), torch.from_numpy(of)), weight


def _banded(matrix: Values, offsets: tuple[int, ...]) -> Values:
    """Return the weights of a band bank, both of whose directions are added where s = t."""
    rows = np.zeros((len(offsets), UNITS))
    for row, offset in zip(rows, offsets):
        low, high = band_rows(offset, UNITS, UNITS)
        target = np.arange(low, high)
        row[low:high] = matrix[target, target + offset]
        if offset == 0 and offsets is OWN_OFFSETS:
            row /= 2.0
    return rows


def _wide(values: Tensor) -> Values:
    return values.detach().double().numpy()
