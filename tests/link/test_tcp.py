"""The device ``tcp:`` over a served board in software: bits, and what a request may ask for."""

import re
import struct
import threading

import numpy as np
import pytest

from board_model import ModelTransport
from pbitstream.devices.conformance import Sizes, check_device, same_readout
from pbitstream.devices.network import client, messages
from pbitstream.devices.random_programs import random_program
from pbitstream.errors import DeviceError, SpecError
from pbitstream.spec.image import Image
from pbitstream.spec.registers import BOARD_BYTES, MAGIC
from served import (
    ADDRESSES,
    IMAGE,
    STOP,
    WINDOW,
    Memory,
    call,
    device,
    expected,
    pair,
    raw,
    serving,
    until,
)


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PBITSTREAM_TOKEN", raising=False)


@pytest.mark.parametrize("seed", [0, 1])
def test_conformance(seed: int) -> None:
    program = random_program(np.random.default_rng([35, seed]), board=True, alive=True, max_dim=24)
    with serving(ModelTransport(IMAGE)) as served:
        check_device(lambda: device(served), [program], sizes=Sizes(steps=2, chains=2))


def test_the_same_numbers_as_the_emulator() -> None:
    with serving(ModelTransport(IMAGE)) as served, device(served) as board:
        board.load(pair())
        for seed in range(4):
            same_readout(board.relax(**call(seed=seed)), expected(seed=seed))
        info = board.info()
        assert (info["device"], info["served_device"], info["server"]) == (
            "tcp", "model", served.url)
        assert info["kind"] == "digital gateware, bit-exact; not a physical substrate"
        assert info["image"]["lanes"] == IMAGE.lanes


def test_long_requests_arrive_whole() -> None:
    rng = np.random.default_rng(1)
    words = rng.integers(0, 256, 4 * IMAGE.window_words()["tables"], np.uint8).tobytes()
    small = Image(**{**vars(IMAGE), "max_rank_words": 8192})
    with serving(Memory(small)) as served:
        link = served.client()
        whole = words * 8
        link.write(WINDOW["tables"], whole)
        assert len(whole) > client.WINDOW_BYTES > messages.MAX_COUNT
        assert link.read(WINDOW["tables"], len(whole)) == whole
        assert link.read(0, 0) == b""
        link.write(0x30, b"")
        link.close()


def test_writes_wait_for_nobody() -> None:
    """A write returns while the board is still at the ones before it."""
    gate = threading.Event()

    class Slow(Memory):
        def write(self, address: int, data: bytes) -> None:
            if address == ADDRESSES["seed"]:
                assert gate.wait(20)
            super().write(address, data)

    with serving(Slow(IMAGE)) as served:
        link = served.client()
        for number in range(client.WINDOW):
            link.write(ADDRESSES["seed"], number.to_bytes(8, "little"))
        gate.set()
        assert link.read(ADDRESSES["seed"], 8) == (client.WINDOW - 1).to_bytes(8, "little")
        link.close()


@pytest.mark.parametrize(("address", "count"), [
    (2, 4), (4, 2), (-4, 4), (BOARD_BYTES, 4), (BOARD_BYTES - 4, 8)])
def test_requests_that_no_board_has(address: int, count: int) -> None:
    with serving(Memory(IMAGE)) as served:
        link = served.client()
        before = served.transport.served
        for ask in (lambda: link.read(address, count), lambda: link.write(address, bytes(count))):
            with pytest.raises(SpecError, match=r"^address and count must be multiples of 4 "):
                ask()
        assert served.transport.served == before
        link.close()


@pytest.mark.parametrize(("address", "count", "writes"), [
    (ADDRESSES["status"], 4, True), (ADDRESSES["steps"], 0x40, True),
    (WINDOW["noise"] - 4, 8, False), (WINDOW["gains"], 4 * 257, False),
    (WINDOW["gains"] + 4 * 256, 4, True), (0x7000, 4, False),
])
def test_requests_that_this_image_does_not_have(address: int, count: int, writes: bool) -> None:
    with serving(Memory(IMAGE)) as served:
        link = served.client()
        before = served.transport.served
        text = (f"{served.url}: sent a {'write' if writes else 'read'} of {count} bytes at "
                f"{address:#x}; refused: ")
        if writes:
            link.write(address, bytes(count))
        with pytest.raises(DeviceError, match=f"^{re.escape(text)}"):
            link.read(address, count)
        assert served.transport.served == before
        # Refused until the board is stopped, then as before.
        with pytest.raises(DeviceError, match=f"^{re.escape(text)}"):
            link.read(0, 4)
        link.write(ADDRESSES["control"], STOP)
        assert link.read(0, 4) == MAGIC.to_bytes(4, "little")
        link.close()


@pytest.mark.parametrize(("head", "reason"), [
    (b"GET / HTTP/1.1\r\n", "474554 came where a message begins"),
    (b"pb\2\1" + bytes(12), "706202 came where a message begins"),
    (struct.pack("<2sBBIII", b"pb", 1, 0, 1, 0, 4), "a message came whose operation is 0"),
    (struct.pack("<2sBBIII", b"pb", 1, 3, 1, 0, 4), "a message came whose operation is 3"),
    (struct.pack("<2sBBIII", b"pb", 1, 1, 0, 0, 4), "a message came whose number is 0"),
    (struct.pack("<2sBBIII", b"pb", 1, 1, 2, 0, 4), "a message came whose number is 2"),
    (struct.pack("<2sBBIII", b"pb", 1, 1, 1, 2, 4), "a message came whose address is 2"),
    (struct.pack("<2sBBIII", b"pb", 1, 1, 1, 0, 0), "a message came whose count is 0"),
    (struct.pack("<2sBBIII", b"pb", 1, 1, 1, 0, 6), "a message came whose count is 6"),
    (struct.pack("<2sBBIII", b"pb", 1, 2, 1, 1 << 19, messages.MAX_COUNT + 4),
     "a message came whose count is 16388"),
    (struct.pack("<2sBBIII", b"pb", 1, 2, 1, 1 << 19, (1 << 32) - 4),
     "a message came whose count is 4294967292"),
])
def test_a_head_that_breaks_a_rule_is_refused_before_its_data(head: bytes, reason: str) -> None:
    with serving(Memory(IMAGE)) as served, raw(served) as line:
        line.sendall(head)
        back = bytearray()
        while more := line.recv(4096):
            back += more
        answer = messages.take_answer(back, 1)
        assert answer is not None
        assert (answer.status, answer.text) == (messages.FAILED, reason)
        until(lambda: bool(served.log))
        assert f": dropped: {reason}, after 0." in served.log[0]


def test_many_small_requests_before_a_long_read() -> None:
    with serving(Memory(IMAGE)) as served:
        link = served.client()
        link.write(WINDOW["tables"], bytes(range(256)) * 64)
        for _ in range(client.WINDOW - 1):
            link.write(ADDRESSES["steps"], bytes(4))
        for number in range(4 * client.WINDOW):
            link.write(ADDRESSES["steps"], number.to_bytes(4, "little"))
            assert len(link._flight) <= client.WINDOW
        assert link.read(WINDOW["tables"], 1 << 14) == bytes(range(256)) * 64
        assert link.read(ADDRESSES["steps"], 4) == (4 * client.WINDOW - 1).to_bytes(4, "little")
        link.close()
