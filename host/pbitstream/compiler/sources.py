"""The digits U-Net as a source: noisy digits at every time of the schedule, forward in NumPy."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.activations import Batch, Part
from pbitstream.diffusion import schedule, unet
from pbitstream.errors import SpecError
from pbitstream.model import Model

__all__ = ["HELD_OUT", "ArraySource", "DigitsSource"]

Values = NDArray[np.float64]

#: Images at the end of the training split that are not fitted.
HELD_OUT = 287
#: Rows of one batch.
BATCH = 2000
#: Seed of the image noise of each part.
SEEDS: dict[Part, int] = {"fit": 3, "held-out": 2, "test": 1}


@dataclass(frozen=True, eq=False)
class DigitsSource:
    """A digits U-Net, ``unet.*`` of a model file, on noisy digits.

    Parameters
    ----------
    model
        Its tensors ``unet.*``, ``times`` and ``time_frequencies`` are read.
    training, test
        Images (n, 64) in [-1, 1]. The last 287 training images are held out, `test` is the part
        ``test``. Every image is taken at all times of the table, `draws` times when fitting.
    """

    model: Model
    training: Values
    test: Values
    draws: int = 2
    repeat: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        blocks = [f"unet.{block}.in.weight" for block in unet.MODULES]
        for name in (*blocks, "unet.head.weight", "times", "time_frequencies"):
            self.model[name]
        object.__setattr__(self, "repeat", len(self.model["times"]))
        if len(self.training) <= HELD_OUT:
            raise SpecError(f"training must hold more than {HELD_OUT} images, which are held out, "
                            f"not {len(self.training)}")

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes of the five named layers."""
        return unet.MODULES

    @property
    def features(self) -> Values:
        """Time features of every row of the table of times, (times, 64)."""
        return schedule.time_features(self.model["times"], self.model["time_frequencies"])

    def states(self, part: Part) -> Iterator[tuple[Values, Values, NDArray[np.int64], Values]]:
        """Yield x_in, target F*, schedule row and time of some rows, image by image."""
        times = self.model["times"]
        images = {"fit": self.training[:-HELD_OUT], "held-out": self.training[-HELD_OUT:],
                  "test": self.test}[part]
        # The legacy generator: its stream is frozen.
        noise = np.random.RandomState(SEEDS[part])
        at_once = max(1, BATCH // len(times))
        for _ in range(self.draws if part == "fit" else 1):
            for first in range(0, len(images), at_once):
                clean = np.repeat(images[first : first + at_once], len(times), axis=0)
                row = np.tile(np.arange(len(times)), len(clean) // len(times))
                t = times[row]
                x = schedule.noisy(clean, noise.standard_normal(clean.shape), t)
                c_in = schedule.preconditioning(t).c_in
                yield c_in[:, None] * x, schedule.target(clean, x, t), row, t

    def batches(self, layers: Sequence[str], part: Part) -> Iterator[Batch]:
        """Yield activations of layers, with x_in and the schedule row of each state."""
        for x_in, _, row, t in self.states(part):
            found = unet.forward(self.model.tensors, x_in, t)
            yield Batch({name: found[name] for name in layers}, x_in, row)

    def f_mse(self, layer: str, values: Values, part: Part) -> float | None:
        """Return the error of F that values (rows of the part, units) of a layer give.

        Only the last layer, d1, is followed by a head alone; of others None.
        """
        if layer != "d1":
            return None
        truth = np.concatenate([target for _, target, _, _ in self.states(part)])
        return float(((unet.head(self.model.tensors, values) - truth) ** 2).mean())


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Activations that are at hand, or made on the fly: a function per part that yields batches.

    Parameters
    ----------
    shapes
        Shape of every layer.
    make
        Called with a part, returns batches; the same ones at every call.
    features, repeat
        As in `Source`.
    """

    shapes: Mapping[str, tuple[int, ...]]
    make: Callable[[Part], Iterable[Batch]]
    features: Values | None = None
    repeat: int = 1

    def batches(self, layers: Sequence[str], part: Part) -> Iterator[Batch]:
        """Yield the batches of a part."""
        yield from self.make(part)

