"""What ``pbitstream generate`` prints: pictures, figures with controls, what it took."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pbitstream.cli.energy_view import show_energy
from pbitstream.cli.output import plural, table
from pbitstream.cli.pictures import picture_rows
from pbitstream.diffusion.generators.base import Drawn, Generator

__all__ = ["Shown", "show", "shown_images"]

#: Images of a sheet.
MOST = 100
#: Rows of pictures of a generator that takes labels, or draws at once.
ROWS = 2
CONTROLS = {
    "real": "real images",
    "k-means-20": "table, 20 groups",
    "k-means-100": "table, 100 groups",
    "classes": "table, by label",
}
COLUMNS = {
    "frechet": ("Frechet\ndistance", 1),
    "frechet_within": ("inside\na class", 1),
    "f90": ("share\n> .9", 3),
    "accuracy": ("label\nright", 3),
    "entropy": ("label\nentropy", 3),
    "nearest": ("nearest\ntraining", 2),
    "copies": ("copies", 3),
}


@dataclass(frozen=True, eq=False)
class Shown:
    """Draws of one generator with their figures and what is known about the device."""

    generator: Generator
    model: str
    device: str
    device_info: dict[str, Any]
    seeds: list[int]
    draws: list[Drawn]
    seconds: list[float]
    judged: dict[str, Any] | None
    digital: dict[str, Any] | None
    energy: dict[str, Any] | None = None

    @property
    def title(self) -> str:
        """What ran on what; the colon at the end of a bare scheme is left out."""
        return f"{self.model} on {self.device.removesuffix(':')}"

    @property
    def paired(self) -> bool:
        """Whether the U-Net's images start from the same noise as these."""
        return len(self.draws[0].frames) > 3 and not self.generator.labelled

    @cached_property
    def updates(self) -> int:
        """Updates of single units behind all images."""
        return sum(drawn.updates for drawn in self.draws)

    @property
    def caption(self) -> str:
        """One line for under the picture."""
        text = f"seed {self.seeds[0]}, {len(self.draws[0].images)} images"
        if self.judged is not None and self.judged["figures"]["frechet"] is not None:
            text += f"; Frechet distance {self.judged['figures']['frechet']['mean']:.1f}"
            if self.judged["controls"]:
                text += f" (real {self.judged['controls']['real']['frechet']['mean']:.1f}"
                if self.digital is not None:
                    text += f", U-Net {self.digital['figures']['frechet']['mean']:.1f}"
                text += ")"
        return text

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        clips: dict[str, int] = {}
        for drawn in self.draws:
            for name, count in drawn.clips.items():
                clips[name] = clips.get(name, 0) + count
        return {
            "model": self.model,
            "device": self.device,
            "seeds": self.seeds,
            "count": len(self.draws[0].images),
            "generator": self.generator.to_dict(),
            "judged": self.judged,
            "digital": None if self.digital is None else self.digital["figures"],
            "updates": self.updates,
            "saturated": clips,
            "seconds": self.seconds,
            "programs": [{"digest": program.digest, "margins": program.margins().to_dict(),
                          "cost": vars(program.cost())} for program in self.generator.programs],
            **({} if self.energy is None else {"energy": self.energy}),
        }


def shown_images(drawn: "Drawn", most: int = MOST) -> NDArray[np.int64]:
    """Return which images to show: the first ones, or with labels the first of each in turn."""
    if drawn.labels is None:
        return np.arange(min(most, len(drawn.images)))
    # Row after row of a sheet is then one of each label that was asked for.
    order = np.argsort(drawn.labels, kind="stable")
    turn = np.empty(len(order), np.int64)
    ranked = drawn.labels[order]
    turn[order] = np.arange(len(order)) - np.searchsorted(ranked, ranked)
    return np.lexsort((drawn.labels, turn))[:most]


def show(console: Console, shown: Shown) -> None:
    """Print everything."""
    kind = shown.device_info.get("kind", "")
    console.print(f"[bold]{escape(shown.title)}[/]" + (f" [dim]({escape(kind)})[/]" * bool(kind)))
    count, seeds = len(shown.draws[0].images), shown.seeds
    named = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    console.print(f"{plural(count, 'image')}, {named}; {_how(shown.generator.to_dict())}\n")
    _pictures(console, shown)
    if shown.judged is not None:
        console.print(_figures(shown, shown.judged))
        console.print(f"[dim]{_legend(shown, shown.judged)}[/]\n")
    _remarks(console, shown)
    if shown.energy is not None:
        show_energy(console, shown.energy)


def _how(generator: Mapping[str, Any]) -> str:
    text = f"{generator['burn_in']} + {generator['steps']} steps"
    if "sampling_steps" in generator:
        kind = {0.0: "DDIM", 1.0: "DDPM"}.get(generator["eta"], f"eta {generator['eta']:g}")
        text += f" at each of {generator['sampling_steps']} {kind} steps"
        if generator["warm"] is not None:
            text += f", warm start with {generator['warm']}"
    elif generator["reverse_steps"] > 1:
        text += f" at each of {generator['reverse_steps']} reverse steps"
    if generator.get("guidance"):
        text += f", guidance {generator['guidance']:g}"
    return text


def _pictures(console: Console, shown: Shown) -> None:
    """Print the way of some images, or rows of images where the way is short."""
    drawn = shown.draws[0]
    if len(drawn.frames) > 3:
        steps = np.linspace(0, len(drawn.frames) - 1, 5).round().astype(int)
        strips = {_short(drawn.frames[n].caption): drawn.frames[n].images for n in steps}
        if shown.digital is not None:
            strips["U-Net"] = shown.digital["images"]

        def first(fits: int) -> Any:
            return np.arange(min(fits, len(drawn.images)))

        lines = picture_rows(console, strips, first, lambda n: f"image {n}")
    else:
        chosen = shown_images(drawn, 10 * ROWS)
        rows = [drawn.images[part] for part in np.array_split(chosen, min(ROWS, len(chosen)))]
        labels = None if drawn.labels is None else drawn.labels[chosen]
        shortest = min(map(len, rows))
        lines = picture_rows(console, {f"{'':{n + 1}}": row for n, row in enumerate(rows)},
                             lambda fits: np.arange(min(fits, shortest)),
                             lambda n: "" if labels is None else f"  {labels[n]}")
    for line in lines:
        console.print(line, no_wrap=True, overflow="crop")


def _short(caption: str) -> str:
    return caption.replace("estimate at ", "")


def _figures(shown: Shown, judged: Mapping[str, Any]) -> Table:
    figures = judged["figures"]
    names = [name for name in COLUMNS if figures.get(name) is not None]
    if not judged["controls"]:
        names = [name for name in names if name in ("accuracy", "f90", "nearest", "copies")]
    made = table("Quality", "", *(COLUMNS[name][0] for name in names))
    made.add_row(escape(shown.model), *(_cell(figures, name) for name in names), style="bold")
    if shown.digital is not None:
        made.add_row("digital U-Net", *(_cell(shown.digital["figures"], name) for name in names))
    for name, label in CONTROLS.items():
        if name in judged["controls"]:
            made.add_row(label, *(_cell(judged["controls"][name], n) for n in names), style="dim")
    return made


def _cell(figures: Mapping[str, Any], name: str) -> str:
    found, digits = figures.get(name), COLUMNS[name][1]
    if found is None:
        return "–"
    text = f"{found['mean']:.{digits}f}"
    return text if found["deviation"] is None else f"{text} ±{found['deviation']:.{digits}f}"


def _legend(shown: Shown, judged: Mapping[str, Any]) -> str:
    what = "the training images" if not judged["controls"] else "360 test digits"
    text = (f"In the features of the {judged['judge']} judge, against {what}; "
            f"{judged['count']} images a seed")
    if len(shown.seeds) > 1:
        text += f", ± the deviation over {len(shown.seeds)} seeds"
    if shown.judged is not None and "k-means-20" in judged["controls"]:
        text += (". Tables draw every pixel by itself, from a group of training images: what they "
                 "reach, too, shows little. Nearest and copies: of training images")
    if judged["missing"]:
        text += f".\n{escape(judged['missing'])}"
    return f"{text}."


def _remarks(console: Console, shown: Shown) -> None:
    count = len(shown.draws) * len(shown.draws[0].images)
    seconds = sum(shown.seconds)
    console.print(f"{shown.updates / count:,.0f} unit updates per image; "
                  f"{1e3 * seconds / count:.2f} ms per image, {shown.updates / seconds / 1e6:,.0f} "
                  "M updates/s with all that is around them")
    clips = {name: n for name, n in shown.to_dict()["saturated"].items() if n}
    if clips:
        counted = ", ".join(f"{name} {n:,}" for name, n in clips.items())
        console.print(f"saturated: {counted} of {shown.updates:,} unit updates", style="yellow")
    else:
        console.print("saturated: nothing")
