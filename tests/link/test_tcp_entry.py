"""Who may use a served board: tokens, interfaces, slow ones and crowds; and the device's URLs."""

import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from pbitstream.devices.network import listen, messages, peer, server
from pbitstream.devices.network.messages import Introduction, Request
from pbitstream.devices.network.urls import open_tcp
from pbitstream.errors import DeviceError, PbitstreamError, SpecError
from served import IMAGE, WINDOW, Memory, device, raw, serving, until

TOKEN = b"correct-horse-battery"


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PBITSTREAM_TOKEN", raising=False)


def test_the_token_opens_and_nothing_else_does(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "token"
    path.write_bytes(TOKEN + b"\n")
    with serving(Memory(IMAGE), token=TOKEN) as served:
        before = served.transport.served
        with pytest.raises(DeviceError, match=r"; it asks for a token; "):
            device(served)
        monkeypatch.setenv("PBITSTREAM_TOKEN", "another one of 16")
        for word in ("another-one-of-16", TOKEN.decode()[:-1] + "Y", TOKEN.decode() + "y"):
            monkeypatch.setenv("PBITSTREAM_TOKEN", word)
            with pytest.raises(DeviceError, match=r"; the token is wrong$"):
                device(served)
        assert served.transport.served == before
        device(served, **{"token-file": str(path)}).close()
        monkeypatch.setenv("PBITSTREAM_TOKEN", TOKEN.decode())
        device(served).close()
        assert served.transport.served > before
    assert not [line for line in served.log if TOKEN.decode()[:8] in line]
    # A client with a token is welcome where none is asked for.
    with serving(Memory(IMAGE)) as served:
        device(served).close()


def test_a_proof_is_good_for_one_connection() -> None:
    with serving(Memory(IMAGE), token=TOKEN) as served:
        line = socket.create_connection(("127.0.0.1", served.port), 10)
        theirs = messages.take_introduction(bytearray(line.recv(4096)))
        line.close()
        assert theirs is not None
        assert theirs.token
        before = served.transport.served
        for answer in (messages.proof(TOKEN, theirs.challenge), theirs.challenge, bytes(32)):
            with socket.create_connection(("127.0.0.1", served.port), 10) as line:
                line.recv(4096)
                line.sendall(Introduction(theirs.digest, answer).pack())
                assert b"the token is wrong" in line.recv(4096)
                assert line.recv(4096) == b""
        assert served.transport.served == before


def test_another_spec_is_refused_by_the_server_too() -> None:
    with serving(Memory(IMAGE)) as served, \
            socket.create_connection(("127.0.0.1", served.port), 10) as line:
        line.recv(4096)
        line.sendall(Introduction(bytes(32), bytes(32)).pack())
        assert b"spec 0000000000000000 came, this is spec " in line.recv(4096)


def test_those_that_are_slow_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "GREETING_SECONDS", 0.3)
    monkeypatch.setattr(peer, "MESSAGE_SECONDS", 0.3)
    with serving(Memory(IMAGE)) as served:
        # Before they are known: bytes that come one by one, and none at all.
        dripping = socket.create_connection(("127.0.0.1", served.port), 10)
        silent = socket.create_connection(("127.0.0.1", served.port), 10)
        began = time.monotonic()
        for byte in Introduction(bytes(32), bytes(32)).pack():
            dripping.sendall(bytes([byte]))
            time.sleep(0.1)
            if len(served.log) == 2:
                break
        assert time.monotonic() - began < 5
        assert silent.recv(4096)
        assert silent.recv(4096) == b""
        # A message that does not become whole; silence between messages is no fault.
        line = raw(served)
        time.sleep(0.5)
        line.sendall(Request(1, messages.READ, 0, 4).pack())
        assert len(line.recv(4096)) == 16
        line.sendall(Request(2, messages.READ, 0, 4).pack()[:-1])
        assert line.recv(4096) == b""
        line.close()
        # Answers that nobody takes.
        line = raw(served)
        ask = b"".join(Request(n, messages.READ, WINDOW["tables"], messages.MAX_COUNT).pack()
                       for n in range(1, 4000))
        line.settimeout(0.2)
        with pytest.raises(OSError, match=r"reset|pipe|timed out"):
            line.sendall(ask * 100)
        until(lambda: len(served.log) == 4)
        for late in (dripping, silent, line):
            late.close()
        served.client().close()
    assert [line.partition(": ")[2].partition(",")[0] for line in served.log[:4]] == [
        "refused: no introduction within 0.3 s", "refused: no introduction within 0.3 s",
        "too slow", "too slow"]


def test_a_crowd_that_says_nothing_keeps_nobody_out() -> None:
    with serving(Memory(IMAGE), token=TOKEN) as served:
        crowd = [socket.create_connection(("127.0.0.1", served.port), 10) for _ in range(60)]
        served.client(token=TOKEN).close()
        for line in crowd:
            line.close()


@pytest.mark.parametrize(("host", "port", "token", "kind", "message"), [
    ("0.0.0.0", 0, None, SpecError, "host must be this computer's own, such as 127.0.0.1, not '0"),
    ("", 0, None, SpecError, "host must be this computer's own, such as 127.0.0.1, not '', "),
    ("127.0.0.1", 1 << 16, None, SpecError, "port must be between 0 and 65535, not 65536"),
    ("127.0.0.1", -1, TOKEN, SpecError, "port must be between 0 and 65535, not -1"),
    ("192.0.2.1", 0, TOKEN, DeviceError, "cannot listen at 192.0.2.1:0: "),
    ("a..b", 0, TOKEN, DeviceError, "cannot listen at 'a..b': "),
])
def test_where_nobody_may_or_can_listen(
    host: str, port: int, token: bytes | None, kind: type[PbitstreamError], message: str
) -> None:
    with pytest.raises(kind, match=f"^{re.escape(message)}"):
        listen(host, port, token=token)
    with listen("127.0.0.1", 0, token=None) as line, pytest.raises(
            DeviceError, match=r"^cannot listen at 127.0.0.1:\d+: Address already in use; choose "):
        listen("127.0.0.1", line.getsockname()[1], token=None)


def test_every_interface_with_a_token() -> None:
    listen("0.0.0.0", 0, token=TOKEN).close()


@pytest.mark.parametrize("rest", ["", "here", ":7248", "here:", "here:0", "here:65536", "here:²",
                                  "::1:7248", "here:-1", "//here:7248/"])
def test_urls_that_are_refused(rest: str) -> None:
    message = ("tcp: takes a host and a port, as in tcp:192.168.2.99:7248 or tcp:[::1]:7248, not "
               f"{rest!r}")
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        open_tcp(rest, {})


def test_options_that_are_refused() -> None:
    with pytest.raises(SpecError, match=r"^tcp: takes the option token-file, not token$"):
        open_tcp("here:1", {"token": "x"})
    with pytest.raises(SpecError, match=r"^token file /nowhere/token cannot be read: No such "):
        open_tcp("here:1", {"token-file": "/nowhere/token"})


def test_an_address_of_ipv6() -> None:
    with pytest.raises(DeviceError, match=r"^sent an introduction to tcp:\[::1\]:1; no server "):
        open_tcp("[::1]:1", {})


@pytest.mark.parametrize(("text", "count"), [
    ("tiny!", 5), ("x" * 15, 15), ("x" * 1025, 1025), ("two words of a token", 20),
    ("żółty żółty żółty".replace(" ", "-"), None)])
def test_what_is_no_token(tmp_path: Path, monkeypatch: Any, text: str, count: int | None) -> None:
    path = tmp_path / "token"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=rf"^token file {re.escape(str(path))} must hold 16 to "
                       rf"1024 ASCII letters.*, not {count or ''}.*makes one$") as caught:
        open_tcp("here:1", {"token-file": str(path)})
    assert text not in str(caught.value)
    monkeypatch.setenv("PBITSTREAM_TOKEN", text)
    with pytest.raises(SpecError, match=r"^PBITSTREAM_TOKEN must hold 16 to 1024 ") as caught:
        open_tcp("here:1", {})
    assert text not in str(caught.value)
