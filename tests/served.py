"""A board in software behind a server: in a thread, or as a device for `pbitstream serve`."""

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np

from board_model import ModelTransport
from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.devices import registry
from pbitstream.devices.board import Board
from pbitstream.devices.network import NetworkTransport, Server, listen, messages
from pbitstream.devices.network.messages import Introduction
from pbitstream.devices.network.urls import open_tcp
from pbitstream.emulator.device import Emulator
from pbitstream.program import Program
from pbitstream.spec.image import Image
from pbitstream.spec.registers import CONTROL, REGISTERS, WINDOWS

IMAGE = Image(lanes=8, max_units=256, max_rank_words=1024, max_modules=8, max_instructions=128,
              max_gains=256)
ADDRESSES = {register.name: register.address for register in REGISTERS}
WINDOW = {window.name: window.address for window in WINDOWS}
STOP, RESET = ((1 << CONTROL.index(name)).to_bytes(4, "little") for name in ("stop", "reset"))


class Memory(ModelTransport):
    """A board that stores what it is sent and computes nothing; counts what it is asked."""

    served = 0

    def read(self, address: int, count: int) -> bytes:
        self.served += 1
        return super().read(address, count)

    def write(self, address: int, data: bytes) -> None:
        self.served += 1
        super().write(address, data)

    def _begin(self, task: Callable[[], None]) -> None:
        """Be done at once."""

    def _start(self) -> None:
        """Start nothing."""

    def _set(self, address: int, word: int) -> None:
        if address != ADDRESSES["link_errors"]:
            super()._set(address, word)


@dataclass
class Served:
    """A server that runs: its board's transport, its address, and the lines of its log."""

    transport: Any
    server: Server
    port: int
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"tcp:127.0.0.1:{self.port}"

    def client(self, **options: Any) -> NetworkTransport:
        return NetworkTransport("127.0.0.1", self.port, **options)


@contextmanager
def serving(transport: Any, *, token: bytes | None = None, port: int = 0,
            log: Callable[[str], None] | None = None) -> Iterator[Served]:
    """Serve a transport in a thread; what breaks the server fails the test."""
    listener = listen("127.0.0.1", port, token=token)
    lines: list[str] = []
    with Board(transport, name="model") as board:
        server = Server(board, listener, token=token, log=log or lines.append)
        served = Served(transport, server, server.address[1], lines)
        broken: list[BaseException] = []

        def run() -> None:
            try:
                server.run()
            except BaseException as error:  # noqa: BLE001 - raised again below
                broken.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield served
        finally:
            server.stop()
            thread.join(60)
            if broken:
                raise broken[0]
            assert not thread.is_alive()


def device(served: Served, **options: str) -> Any:
    return open_tcp(served.url.removeprefix("tcp:"), options)


def pair() -> Program:
    """Return x (5, Langevin) and p (6, p-bits), coupled."""
    rng = np.random.default_rng(5)
    builder = ProgramBuilder()
    x, p = builder.langevin("x", 5), builder.pbit("p", 6)
    builder.low_rank(x, p, rng.normal(size=(5, 2)), rng.normal(size=(6, 2)), [0.2, 0.1])
    return builder.build()


def call(**changes: Any) -> dict[str, Any]:
    h = np.random.default_rng(6).normal(size=(2, 11))
    return {"h": h, "steps": 3, "burn_in": 1, "seed": 7, "chains": 2, "moments": True, **changes}


def expected(**changes: Any) -> Any:
    with Emulator(engine="oracle") as oracle:
        oracle.load(pair())
        return oracle.relax(**call(**changes))


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def raw(served: Served, *, token: bytes | None = None) -> socket.socket:
    """Return a connection that has introduced itself and been let in."""
    line = socket.create_connection(("127.0.0.1", served.port), 10)
    theirs = messages.take_introduction(bytearray(line.recv(4096)))
    assert theirs is not None
    proof = bytes(32) if token is None else messages.proof(token, theirs.challenge)
    line.sendall(Introduction(theirs.digest, proof).pack())
    answer = messages.take_answer(bytearray(line.recv(4096)), 0)
    assert answer is not None
    assert answer.status == messages.DONE, answer.text
    return line


def open_model(rest: str, options: dict[str, str]) -> Board:
    """Board in software; for tests."""
    return Board(ModelTransport(IMAGE), name="model")


if __name__ == "__main__":
    from pbitstream.cli import main

    points = [EntryPoint("model", "served:open_model", registry.GROUP)]
    registry.entry_points = lambda group: points  # type: ignore[assignment]
    sys.exit(main(sys.argv[1:]))
