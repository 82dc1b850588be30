"""Pictures of drawn images: a sheet of them, and their way from noise as an animation."""

import math
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.cli.generate_view import Shown, shown_images
from pbitstream.cli.output import write_whole
from pbitstream.cli.plot import STYLE, require_matplotlib, save_figure

if TYPE_CHECKING:
    from pbitstream.diffusion.generators.base import Drawn

__all__ = ["save_animation", "save_sheet", "tiled"]

Values = NDArray[np.float64]

SIDE, GAP = 8, 1
#: Images in a row of a sheet.
ACROSS = 10
#: Pixels of a pixel, and how long a frame and the last one stay, in ms.
ZOOM, FRAME, LAST = 6, 160, 1600
#: Frames that a way of only few relaxations is filled up to, by mixing neighbours.
SMOOTH = 12


def tiled(images: Values, across: int = ACROSS) -> Values:
    """Return images (n, 64) side by side, in [0, 1], black where none is."""
    across = min(across, len(images))
    down = -(-len(images) // across)
    cell = SIDE + GAP
    sheet = np.full((cell * down + GAP, cell * across + GAP), -1.0)
    for place, image in enumerate(images):
        row, column = divmod(place, across)
        top, left = GAP + cell * row, GAP + cell * column
        sheet[top : top + SIDE, left : left + SIDE] = image.reshape(SIDE, SIDE)
    return np.asarray((sheet.clip(-1, 1) + 1) / 2)


def save_sheet(path: Path, shown: Shown) -> None:
    """Write images of the first seed; beside them, of a diffusion model, the digital U-Net's."""
    matplotlib = require_matplotlib()
    from matplotlib.figure import Figure

    drawn = shown.draws[0]
    chosen = shown_images(drawn)
    sheets = {shown.title: drawn.images[chosen]}
    if shown.digital is not None and shown.paired:
        sheets["digital U-Net, same noise"] = shown.digital["images"][chosen]
    high = 0.42 * math.ceil(len(chosen) / ACROSS)
    with matplotlib.rc_context(STYLE):
        figure: Any = Figure(figsize=(4.4 * len(sheets) + 0.2, high + 0.8), layout="constrained")
        for axes, (title, images) in zip(figure.subplots(1, len(sheets), squeeze=False)[0],
                                         sheets.items()):
            axes.imshow(tiled(images), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set_title(title)
            axes.set_axis_off()
            axes.set_anchor("NW")
        figure.supxlabel(shown.caption, x=0.01, ha="left", fontsize=8, color="#444444")
        save_figure(path, figure)


def save_animation(path: Path, drawn: "Drawn") -> None:
    """Write the frames of up to 100 images as a GIF that runs for ever."""
    require_matplotlib()
    from PIL import Image

    chosen = shown_images(drawn)
    frames = [frame.images[chosen] for frame in drawn.frames]
    between = max(1, SMOOTH // max(1, len(frames) - 1))
    way = [frames[0]]
    for before, after in pairwise(frames):
        way += [before + (after - before) * n / between for n in range(1, between + 1)]
    pictures = []
    for images in way:
        levels = np.round(255 * tiled(images)).astype(np.uint8)
        pictures.append(Image.fromarray(levels.repeat(ZOOM, 0).repeat(ZOOM, 1)))
    stay = [FRAME] * (len(pictures) - 1) + [LAST]

    def write(file: Any) -> None:
        pictures[0].save(file, format="GIF", save_all=True, append_images=pictures[1:],
                         duration=stay, loop=0)

    write_whole(path, write)
