"""The device ``tcp:`` when something breaks, and what a server does with who comes next."""

import re
import socket
import threading
import time
from contextlib import suppress

import pytest

from board_model import BUSY, ModelTransport
from pbitstream.devices.conformance import same_readout
from pbitstream.devices.network import NetworkTransport, client, messages, server
from pbitstream.devices.network.messages import Introduction, Request
from pbitstream.errors import DeviceError, DeviceTimeoutError
from pbitstream.spec import spec_digest
from pbitstream.spec.image import Image
from pbitstream.spec.registers import MAGIC
from served import (
    ADDRESSES,
    IMAGE,
    RESET,
    STOP,
    Memory,
    call,
    device,
    expected,
    pair,
    raw,
    serving,
    until,
)

OURS = Introduction(bytes.fromhex(spec_digest()), bytes(32)).pack()


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PBITSTREAM_TOKEN", raising=False)


class Faulty(Memory):
    """A board whose line fails while `error` is set."""

    error: DeviceError | None = None

    def write(self, address: int, data: bytes) -> None:
        if self.error is not None:
            raise self.error
        super().write(address, data)


@pytest.mark.parametrize("kind", [DeviceError, DeviceTimeoutError])
def test_a_write_that_fails_is_told_by_the_next_read_or_by_close(kind: type[DeviceError]) -> None:
    with serving(Faulty(IMAGE)) as served:
        link = served.client()
        for end in (lambda: link.read(0, 4), link.close):
            served.transport.error = kind("sent this; that came back")
            link.write(ADDRESSES["steps"], bytes(4))
            link.write(ADDRESSES["burn_in"], bytes(4))
            message = f"^{re.escape(served.url)}: sent this; that came back$"
            with pytest.raises(kind, match=message) as caught:
                end()
            assert type(caught.value) is kind
            served.transport.error = None
            if end != link.close:
                # Nothing reaches the board before it is stopped.
                link.write(ADDRESSES["steps"], b"\1\0\0\0")
                with pytest.raises(kind, match=message):
                    link.read(0, 4)
                assert served.transport.values["steps"] == 0
                link.write(ADDRESSES["control"], STOP)
                link.write(ADDRESSES["steps"], b"\1\0\0\0")
                assert link.read(ADDRESSES["steps"], 4) == b"\1\0\0\0"


def test_a_stop_is_executed_when_it_returns_whatever_failed_before() -> None:
    with serving(Faulty(IMAGE)) as served:
        link = served.client()
        served.transport.error = DeviceError("out")
        link.write(ADDRESSES["steps"], bytes(4))
        with pytest.raises(DeviceError, match=r": out$"):
            link.write(ADDRESSES["control"], RESET)
        link.write(ADDRESSES["steps"], bytes(4))
        time.sleep(0.05)
        served.transport.error = None
        before = served.transport.served
        link.write(ADDRESSES["control"], RESET)
        assert served.transport.served == before + 1
        link.close()


def test_a_lost_connection_is_one_error_and_a_reset_connects_anew() -> None:
    with serving(ModelTransport(IMAGE)) as first, device(first) as board:
        board.load(pair())
        first.server.stop()
        until(lambda: bool(first.log))
        for _ in range(2):
            with pytest.raises(DeviceError, match=r"^sent an? (read|write|introduction) .*to tcp:"
                               r"127\.0\.0\.1:\d+; .*(closed|reset|Broken pipe|can be reached)"):
                board.relax(**call())
        with pytest.raises(DeviceError, match=r"no server can be reached: .*; start pbitstream "):
            board.reset()
        with serving(ModelTransport(IMAGE), port=first.port):
            board.reset()
            board.load(pair())
            same_readout(board.relax(**call()), expected())
        # Another image has another layout.
        other = Image(**{**vars(IMAGE), "lanes": 16})
        with serving(ModelTransport(other), port=first.port):
            for message in ("(closed|reset|pipe)", "another board answers there; open the device "):
                with pytest.raises(DeviceError, match=message):
                    board.reset()


def test_a_call_that_is_interrupted_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    receive = NetworkTransport._receive
    left = [-1]

    def interrupted(self: NetworkTransport, end: float) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        receive(self, end)

    monkeypatch.setattr(NetworkTransport, "_receive", interrupted)
    wanted = expected()
    with serving(ModelTransport(IMAGE)) as served, device(served) as board:
        board.load(pair())
        at = 1
        while True:
            left[0] = at
            try:
                board.relax(**call())
            except KeyboardInterrupt:
                assert served.transport.task is None
            if left[0] > 0:
                break
            left[0] = -1
            same_readout(board.relax(**call()), wanted)
            at += 4
        left[0] = -1
        assert at > 20


def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(DeviceTimeoutError, match=rf"^sent an introduction to tcp:127.0.0.1:"
                           rf"{port}; nothing came back within 0.2 s$"):
            NetworkTransport("127.0.0.1", port)


@pytest.mark.parametrize(("said", "message"), [
    (b"SSH-2.0-OpenSSH\r\n", "what came is no introduction"),
    (b"pbitsrv\2", "version 2 of the protocol came, this is version 1; install the same "),
    (Introduction(bytes(32), bytes(32)).pack(), f"its spec is {16 * '0'}, this is spec "),
    (Introduction(bytes.fromhex(spec_digest()), bytes(32), token=True).pack(),
     "it asks for a token; set PBITSTREAM_TOKEN, or write ?token-file=FILE behind the device"),
    (OURS + b"pb\1\0" + bytes(8),
     "what came back is no description of a board"),
    (OURS + b"pb\1\0\0\0\0\0\2\0\0\0[]",
     "what came back is no description of a board"),
    (OURS + b"pb\1\1\0\0\0\0\4\0\0\0\x1b[2J",
     "?[2J"),
    (OURS + b"HTTP/1.1 400 Bad Request",
     "485454 came where a message begins"),
    (b"", "the server closed the connection"),
])
def test_what_is_no_server_of_ours(said: bytes, message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def answer() -> None:
            line, _ = listener.accept()
            with line, suppress(OSError):
                line.sendall(said)
                line.shutdown(socket.SHUT_WR)
                while line.recv(4096):
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        port = listener.getsockname()[1]
        with pytest.raises(DeviceError, match=rf"^sent an introduction to tcp:127.0.0.1:{port}; "
                           + re.escape(message)):
            NetworkTransport("127.0.0.1", port)
        thread.join(10)


def test_a_second_client_is_told_and_the_next_one_finds_the_board_free() -> None:
    with serving(ModelTransport(IMAGE)) as served:
        with device(served) as board:
            board.load(pair())
            with pytest.raises(DeviceError, match=r"^sent an introduction to tcp:127.0.0.1:\d+; "
                               r"the board is in use, by 127.0.0.1:\d+$"):
                served.client()
            same_readout(board.relax(**call()), expected())
        for _ in range(5):
            served.client().close()
        until(lambda: len(served.log) == 7)
    assert [": refused: the board is in use" in line for line in served.log] == [True] + 6 * [False]
    assert all(re.match(r"127.0.0.1:\d+: closed, after ", line) for line in served.log[1:])


def test_a_client_that_is_about_to_leave_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BUSY_SECONDS", 20)
    with serving(Memory(IMAGE)) as served:
        first = served.client()
        leaving = threading.Timer(0.2, first.close)
        leaving.start()
        second = served.client()
        leaving.join()
        assert second.read(0, 4) == MAGIC.to_bytes(4, "little")
        second.close()


@pytest.mark.parametrize("left", [b"", b"pb", Request(99, messages.WRITE, 0x2000, 64).pack()])
def test_a_client_that_vanishes_leaves_the_board_idle(left: bytes) -> None:
    with serving(ModelTransport(IMAGE, looks=1 << 30)) as served:
        served.transport.looks = 2
        with device(served) as board:
            board.load(pair())
            served.transport.looks = 1 << 30
            told: list[BaseException] = []

            def relax() -> None:
                try:
                    board.relax(**call())
                except DeviceError as error:
                    told.append(error)

            thread = threading.Thread(target=relax)
            thread.start()
            until(lambda: served.transport.task is not None)
            # As when its computer is gone: the line breaks, in the middle of whatever it was at.
            line = board.transport._line
            assert line is not None
            line.shutdown(socket.SHUT_RDWR)
            thread.join(20)
            assert told
        until(lambda: served.transport.task is None)
        assert not served.transport.values["status"] & BUSY
        served.transport.looks = 2
        line = raw(served)
        start = Request(1, messages.WRITE, ADDRESSES["steps"], 4, b"\1\0\0\0").pack()
        line.sendall(start + left[:-1])
        line.close()
        with device(served) as board:
            board.load(pair())
            same_readout(board.relax(**call()), expected())


def test_a_board_that_does_not_answer_is_told_until_it_does() -> None:
    with serving(Faulty(IMAGE)) as served:
        link = served.client()
        served.transport.error = DeviceError("the plug is out")
        link.close()
        for _ in range(2):
            with pytest.raises(DeviceError, match=r"; the board does not answer: the plug is out$"):
                served.client()
        served.transport.error = None
        served.client().close()
    assert served.log[0].endswith("bytes; the board does not answer: the plug is out")
