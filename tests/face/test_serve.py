"""``pbitstream serve``: what it refuses, what it says when it is ready, and how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pbitstream.cli.serve import _signals
from pbitstream.devices.network.urls import open_tcp

TESTS = Path(__file__).parents[1]


@contextmanager
def serve(*words: str, token: str | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run the command on a board in software, in a process of its own."""
    environment = os.environ | ({} if token is None else {"PBITSTREAM_TOKEN": token})
    with subprocess.Popen([sys.executable, str(TESTS / "served.py"), "serve", "-d", "model:",
                           "--port", "0", *words], stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.PIPE, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def ready(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line: dict[str, Any] = json.loads(process.stdout.readline())
    return line


def address(line: dict[str, Any]) -> str:
    return str(line["url"]).removeprefix("tcp:")


@pytest.mark.parametrize(("number", "code", "last"), [
    (signal.SIGINT, 130, "pbitstream: interrupted\n"), (signal.SIGTERM, 0, "")])
def test_a_signal_ends_it_while_it_is_used(number: int, code: int, last: str) -> None:
    with serve("--json") as process:
        line = ready(process)
        assert line == {"url": f"tcp:127.0.0.1:{line['port']}", "host": "127.0.0.1",
                        "port": line["port"], "device": "model:", "token": False}
        with open_tcp(address(line), {}) as board:
            assert board.info()["server"] == line["url"]
        with open_tcp(address(line), {}), socket.create_connection(("127.0.0.1", line["port"])):
            time.sleep(0.1)
            process.send_signal(number)
            out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (code, "")
        assert re.fullmatch(
            r"pbitstream: note: 127.0.0.1:\d+: closed, after \d+.\d s with \d+ requests of \d+ "
            r"bytes\n(pbitstream: note: 127.0.0.1:\d+: the server stops(, after .* bytes)?\n){2}"
            + last, err), err
        # Its port is free again.
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", line["port"]))


def test_quiet_is_quiet() -> None:
    with serve("--quiet", "--json") as process:
        open_tcp(address(ready(process)), {}).close()
        process.send_signal(signal.SIGTERM)
        assert (*process.communicate(timeout=30), process.returncode) == ("", "", 0)


def test_a_second_interrupt_does_not_wait() -> None:
    class Stuck:
        asked = 0

        def stop(self) -> None:
            self.asked += 1

    server, before = Stuck(), signal.getsignal(signal.SIGINT)
    with _signals(server) as caught:  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGINT)
        assert (server.asked, caught) == (1, {signal.SIGINT})
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_words_for_people_and_a_token_from_the_environment(monkeypatch: Any) -> None:
    token = "a-token-of-24-characters"
    with serve("--host", "0.0.0.0", token=token) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        match = re.fullmatch(r"serving model: as tcp:0\.0\.0\.0:(\d+), with a token; Ctrl-C ends\n",
                             said)
        assert match, said
        monkeypatch.setenv("PBITSTREAM_TOKEN", token)
        open_tcp(f"127.0.0.1:{match[1]}", {}).close()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0
        assert token not in said + out + err


def test_a_client_that_is_killed_leaves_the_board_to_the_next() -> None:
    code = ("import sys, time\n"
            "from pbitstream.devices.network.urls import open_tcp\n"
            "board = open_tcp(sys.argv[1], {})\n"
            "board.transport.write(0x2000, bytes(64))\n"
            "print('in', flush=True)\n"
            "time.sleep(60)\n")
    with serve("--json") as process:
        where = address(ready(process))
        with subprocess.Popen([sys.executable, "-c", code, where], stdout=subprocess.PIPE,
                              text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "in\n"
            other.kill()
        open_tcp(where, {}).close()


REFUSALS = {
    ("-d", "emulator:"):
        "--device must be a board behind a link, such as verilator:, not 'emulator:', which has "
        "no link that could be served; it runs where its program runs",
    ("--host", "0.0.0.0"):
        "host must be this computer's own, such as 127.0.0.1, not '0.0.0.0', while there is no "
        "token; set PBITSTREAM_TOKEN or give a token file",
    ("--port", "65536"): "port must be between 0 and 65535, not 65536",
    ("--port", "any"): "--port: must be a whole number, not 'any'; see pbitstream serve --help",
    ("--token-file", "none"): "token file none cannot be read: No such file or directory",
    ("--token", "secret"):
        "unknown option --token, did you mean --token-file?; see pbitstream serve --help",
}


@pytest.mark.parametrize("words", REFUSALS)
def test_refusals(refused: Callable[..., None], words: tuple[str, ...]) -> None:
    port = () if "--port" in words else ("--port", "0")
    refused(2, REFUSALS[words], "serve", *port, *words)


def test_a_port_that_is_taken(refused: Callable[..., None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        refused(4, f"cannot listen at 127.0.0.1:{port}: Address already in use; choose another "
                   "port or interface", "serve", "--port", str(port))


def test_help_has_examples(run: Callable[..., Any]) -> None:
    done = run("serve", "--help")
    assert done.code == 0
    assert "pbitstream infer -d tcp:127.0.0.1:7248" in done.out
    assert "PBITSTREAM_TOKEN" in done.out
