"""Torch U-Nets as sources: activations of named layers by forward hooks.

Any ``torch.nn.Module`` will do; layers are named as `named_modules` names them, and what a layer
returns is flattened row by row, channels x rows x columns. `UNet2DModel` of diffusers is read from
its folder, config.json and safetensors.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.activations import Batch, Part
from pbitstream.errors import FileFormatError, MissingExtraError, SpecError

__all__ = ["DIFFUSERS_TIMES", "TorchSource", "diffusers_calls", "diffusers_skips",
           "open_diffusers"]

Values = NDArray[np.float64]
#: Arguments of one forward pass, and what a conditioning net sees of its rows or None.
Call = tuple[tuple[Any, ...], Values | None]

#: The noise levels of a DDPM: a linear schedule of 1,000 betas, as diffusers has by default.
DDPM_STEPS, FIRST_BETA, LAST_BETA = 1000, 1e-4, 0.02
#: Noise levels at which every image is taken.
DIFFUSERS_TIMES = 4


class TorchSource:
    """A torch module, and the calls that make its activations.

    Parameters
    ----------
    module
        Put into evaluation mode; never trained or changed.
    calls
        Called with a part, yields the arguments of each forward pass and its conditioning inputs
        (n, inputs) or None; the same ones at every call.
    repeat
        Consecutive rows that belong to one image.

    Raises
    ------
    MissingExtraError
        If torch is missing.
    """

    features: Values | None = None

    def __init__(
        self, module: Any, calls: Callable[[Part], Iterable[Call]], *, repeat: int = 1
    ) -> None:
        self._torch = _torch()
        self.module, self.calls, self.repeat = module.eval(), calls, repeat
        self._shapes: dict[str, tuple[int, ...]] | None = None

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes of all layers that return one tensor, from the first forward pass."""
        if self._shapes is None:
            for arguments, _ in self.calls("fit"):
                names = [name for name, _ in self.module.named_modules() if name]
                found = self._forward(names, arguments, strict=False)
                self._shapes = {name: tuple(tensor.shape[1:]) for name, tensor in found.items()}
                break
            else:
                raise SpecError("calls must yield at least one forward pass of the part fit")
        return self._shapes

    def batches(self, layers: Sequence[str], part: Part) -> Iterator[Batch]:
        """Yield the activations of layers for every call of a part."""
        for arguments, inputs in self.calls(part):
            found = self._forward(layers, arguments, strict=True)
            yield Batch({name: tensor.flatten(1).double().cpu().numpy()
                         for name, tensor in found.items()}, inputs)

    def _forward(
        self, layers: Sequence[str], arguments: tuple[Any, ...], *, strict: bool
    ) -> dict[str, Any]:
        """Run the module and return what layers gave; `strict` demands one tensor of each."""
        modules, found, handles = dict(self.module.named_modules()), {}, []

        def hook(name: str) -> Callable[..., None]:
            def keep(module: Any, given: Any, returned: Any) -> None:
                # Blocks of diffusers return the tensor first, then what their skips carry.
                if isinstance(returned, tuple) and returned:
                    returned = returned[0]
                if isinstance(returned, self._torch.Tensor) and returned.dim() > 1:
                    # A copy: what follows may write into the tensor.
                    found[name] = returned.detach().clone()

            return keep

        try:
            for name in layers:
                if name not in modules:
                    raise SpecError(f"the U-Net has no layer {name}; layers are named as "
                                    "named_modules() names them")
                handles.append(modules[name].register_forward_hook(hook(name)))
            with self._torch.no_grad():
                self.module(*arguments)
        finally:
            for handle in handles:
                handle.remove()
        missing = [name for name in layers if name not in found]
        if missing and strict:
            raise SpecError(f"layer {missing[0]} returned no tensor in a forward pass; name a "
                            "layer that runs and returns one")
        return found


def open_diffusers(folder: Path) -> Any:
    """Return the `UNet2DModel` of a folder with config.json and safetensors weights.

    Raises
    ------
    MissingExtraError
        If diffusers is missing.
    FileFormatError
        If the folder holds no such model; the message names it and the reason.
    """
    if not (folder / "config.json").is_file():
        raise FileFormatError(f"{folder}: no config.json; name the folder of a UNet2DModel")
    try:
        model_class = import_module("diffusers").UNet2DModel
    except ImportError as error:
        raise MissingExtraError(f"{folder}: reading a UNet2DModel needs diffusers, which is "
                                "missing; pip install 'pbitstream[diffusers]'") from error
    try:
        return model_class.from_pretrained(str(folder), local_files_only=True,
                                           use_safetensors=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise FileFormatError(f"{folder}: not a UNet2DModel: {error}") from error


def diffusers_skips(module: Any) -> list[str]:
    """Return the outermost skip of a `UNet2DModel`: its first down block to its last up block.

    The blocks halve and double the map; a pair whose maps differ has no local bank.
    """
    downs, ups = len(module.down_blocks), len(module.up_blocks)
    if not downs or not ups:
        raise SpecError("the U-Net has no down_blocks or no up_blocks; name pairs with --skip")
    return [f"down_blocks.0.resnets.0:up_blocks.{ups - 1}"]


def diffusers_calls(
    module: Any, images: Values, *, times: int = DIFFUSERS_TIMES, batch: int = 32, seed: int = 0
) -> Callable[[Part], Iterator[Call]]:
    """Return the calls of a `UNet2DModel` on noisy images, for `TorchSource`.

    ``x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) e`` with the linear schedule of DDPM. The last fifth
    of the images is held out and is also the part ``test``.

    Parameters
    ----------
    images
        (n, channels, rows, columns), floats in [-1, 1].
    times
        Noise levels of each image, evenly spaced.
    """
    torch = _torch()
    config = module.config
    size = config["sample_size"]
    sides = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    expected = (config["in_channels"], *sides)
    if images.ndim != 4 or images.shape[1:] != expected:
        raise SpecError(f"data must have shape (images, {', '.join(map(str, expected))}), "
                        f"not {images.shape}")
    if len(images) < 2:
        raise SpecError(f"data must hold at least 2 images, one to hold out, not {len(images)}")
    if not np.isfinite(images).all():
        raise SpecError("data must be finite")
    remaining = np.cumprod(1 - np.linspace(FIRST_BETA, LAST_BETA, DDPM_STEPS))
    steps = np.linspace(0, DDPM_STEPS - 1, times + 2).round().astype(int)[1:-1]
    cut = len(images) - max(1, len(images) // 5)

    def calls(part: Part) -> Iterator[Call]:
        rng = np.random.default_rng((seed, part == "fit"))
        own = images[:cut] if part == "fit" else images[cut:]
        at_once = max(1, batch // times)
        for first in range(0, len(own), at_once):
            clean = np.repeat(own[first : first + at_once], times, axis=0)
            t = np.tile(steps, len(clean) // times)
            alpha = np.sqrt(remaining[t])[:, None, None, None]
            x = alpha * clean + np.sqrt(1 - alpha**2) * rng.standard_normal(clean.shape)
            yield (torch.tensor(x, dtype=torch.float32), torch.tensor(t)), None

    return calls


def _torch() -> Any:
    try:
        return import_module("torch")
    except ImportError as error:
        raise MissingExtraError("a torch U-Net needs torch, which is missing; "
                                "pip install 'pbitstream[train]'") from error
