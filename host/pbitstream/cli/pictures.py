"""Small grey pictures in a terminal: half blocks where there is colour, shades where not."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

__all__ = ["picture_rows"]

Values = NDArray[np.float64]

SIDE = 8
#: Columns of the labels, and between pictures.
LABEL, GAP = 10, 2
MOST = 10
SHADES = " ░▒▓█"
PLAIN_SHADES = " .+*#"


def picture_rows(
    console: Console,
    strips: Mapping[str, Values],
    choose: Callable[[int], NDArray[np.int64]],
    title: Callable[[int], str],
) -> list[Text]:
    """Return lines of pictures, one strip of them per kind, as many as the terminal is wide.

    Parameters
    ----------
    strips
        Images (states, 64) in [-1, 1] by label.
    choose
        Returns the states to show, given how many fit.
    title
        Returns what stands above the picture of a state.
    """
    colour = console.color_system is not None and not console.no_color
    # With colour a character holds two pixels, one above the other; without, half a pixel.
    wide = SIDE if colour else 2 * SIDE
    room = (console.width - LABEL + GAP) // (wide + GAP)
    chosen = choose(max(1, min(MOST, room)))
    head = "".join(f"{title(int(state)):<{wide + GAP}}" for state in chosen)
    lines = [Text(f"{'':{LABEL}}{head}", style="dim")]
    shades = SHADES if console.encoding.lower().startswith("utf") else PLAIN_SHADES
    for label, images in strips.items():
        pictures = [np.clip((images[state].reshape(SIDE, SIDE) + 1) / 2, 0, 1) for state in chosen]
        drawn = [_half_blocks(p) if colour else _shaded(p, shades) for p in pictures]
        for number, parts in enumerate(zip(*drawn)):
            line = Text(f"{label if number == 0 else '':{LABEL}}")
            for part in parts:
                line.append_text(part).append(" " * GAP)
            line.rstrip()
            lines.append(line)
        lines.append(Text())
    return lines


def _half_blocks(picture: Values) -> list[Text]:
    """Return 4 lines of 8 upper half blocks: foreground the upper pixel, background the lower."""
    lines = []
    for upper, lower in zip(picture[::2], picture[1::2]):
        line = Text()
        for top, bottom in zip(upper, lower):
            line.append("▀", Style(color=_grey(top), bgcolor=_grey(bottom)))
        lines.append(line)
    return lines


def _grey(value: float) -> Color:
    level = round(255 * float(value))
    return Color.from_rgb(level, level, level)


def _shaded(picture: Values, shades: str) -> list[Text]:
    """Return 8 lines of 16 characters, two per pixel, darker ink for lighter pixels."""
    levels = np.minimum((picture * len(shades)).astype(int), len(shades) - 1)
    return [Text("".join(shades[level] * 2 for level in row)) for row in levels]
