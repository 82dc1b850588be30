"""Small random programs of instructions, and a plain walk through them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pbitstream.spec.image import Image
from pbitstream.spec.instructions import COMMON, COPIES, Decoded, decode, encode

__all__ = ["Issue", "program", "walk"]

NEVER = -(1 << COMMON["wait"] - 1)


def program(draw: random.Random, image: Image, absurd: bool) -> list[int]:
    """Return a prologue of some updates and a step of projections and groups.

    Waits are what a program may ask for, or any number at all.
    """
    results = 0

    def wait() -> int:
        if absurd:
            return draw.choice([draw.randrange(-8, 9), draw.randrange(NEVER, -NEVER)])
        return draw.choice([NEVER, NEVER, -20, -3, -2, -1, 0, 0])

    def rows() -> tuple[int, int]:
        count = draw.choice([1, 1, 2, 3, 8])
        return count, (count - 1) * image.lanes + draw.randint(1, image.lanes)

    def source() -> dict[str, int]:
        return {"copy": draw.choice(list(COPIES.values())), "wait": wait(),
                "table": draw.randrange(64)}

    def update(group: int, clear: bool, last: bool, count: int, dim: int) -> int:
        return encode("update", wait=wait(), clear=int(clear), group=group, last=int(last),
                      row=draw.randrange(image.rows), rows=count, dim=dim,
                      module=draw.randrange(image.max_modules))

    words = []
    for left in reversed(range(draw.randint(1, 3))):
        words.append(update(len(words), True, not left, *rows()))
    for left in reversed(range(draw.randint(1, 3))):
        for _ in range(draw.randrange(3)):
            count = draw.randint(1, 4)
            results += count
            words.append(encode(
                "project", **source(), rows=draw.randint(1, 3), row=draw.randrange(1024),
                count=count, gain=draw.randrange(12), result=draw.randrange(28),
                shift_z=draw.randrange(23), shift_u=draw.randrange(31)))
        group = len(words)
        count, dim = rows()
        for _ in range(draw.randrange(4)):
            first = int(len(words) == group)
            if draw.random() < 0.5:
                needed = draw.choice([0, results, results])
                words.append(encode(
                    "expand", **source(), clear=first, rows=count, count=draw.randint(1, 4),
                    result=draw.randrange(28),
                    wait_results=draw.randrange(4096) if absurd and draw.randrange(2) else needed))
            else:
                words.append(encode("band", **source(), clear=first, row=draw.randrange(1024),
                                    rotate=draw.randrange(image.lanes)))
        words.append(update(group, len(words) == group, not left, count, dim))
    return words


@dataclass
class Issue:
    """One issue of an instruction: what stands at the outputs, and what it waits for."""

    item: Decoded
    outputs: dict[str, Any]
    begins: bool
    repeats: bool = False
    ends: bool = False


def issues(item: Decoded, t: int, parity: int, image: Image) -> Iterator[Issue]:
    """Yield what an instruction issues, as `pbitstream.spec.instructions` says."""
    copy = {"fixed": 0, "old": parity, "new": 1 - parity}[
        next(name for name, code in COPIES.items() if code == item["copy"])]
    base = {"broadcast": 0, "expand": 0, "project": 0, "update": 0, "clear": 0}
    if item.kind == "project":
        for c in range(item["count"]):
            for r in range(item["rows"]):
                last = r == item["rows"] - 1
                outputs = {**base, "clear": int(r == 0), "project": int(last), "rotate": 0,
                           "copy": copy, "row": (item["row"] + r) % image.rows,
                           "table": item["table"] + c * item["rows"] + r}
                if last:
                    outputs["component"] = {
                        "gain": item["gain"] + c, "result": item["result"] + c,
                        "shift_z": item["shift_z"], "shift_u": item["shift_u"]}
                yield Issue(item, outputs, begins=c == r == 0)
    elif item.kind == "expand":
        for c in range(item["count"]):
            yield Issue(item, {**base, "broadcast": 1, "expand": 1, "read": item["result"] + c,
                               "clear": item["clear"] * (c == 0),
                               "table": item["table"] + t + c * item["rows"]}, begins=c == 0)
    elif item.kind == "band":
        yield Issue(item, {**base, "clear": item["clear"], "rotate": item["rotate"], "copy": copy,
                           "row": (item["row"] + t) % image.rows, "table": item["table"] + t},
                    begins=True)
    else:
        yield Issue(item, {**base, "broadcast": 1, "update": 1, "clear": item["clear"]}, True,
                    repeats=t + 1 < item["rows"], ends=t + 1 == item["rows"] and bool(item["last"]))


def walk(words: list[int], image: Image, burn_in: int, steps: int) -> Iterator[Issue]:
    """Yield all issues of a relaxation: the prologue, then each step."""
    items = [decode(word) for word in words]
    at, begin = 0, None
    for number in range(-1, burn_in + steps):
        parity, prologue = max(number, 0) % 2, number < 0
        t = 0
        while True:
            item = items[at]
            for issue in issues(item, t, parity, image):
                if item.kind == "update":
                    issue.outputs["row_update"] = {
                        "row": (item["row"] + t) % image.rows, "module": item["module"],
                        "first": t * image.lanes, "rest": item["dim"] - t * image.lanes - 1,
                        "init": int(prologue), "window": int(number >= burn_in),
                        "copy": 0 if prologue else 1 - parity}
                yield issue
            at += 1
            if issue.repeats:
                at, t = item["group"], t + 1
            else:
                t = 0 if item.kind == "update" else t
                if issue.ends:
                    break
        begin = at if begin is None else begin
        at = begin
