"""``pbitstream serve``: a board for programs on other computers."""

import argparse
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pbitstream.cli.output import Output
from pbitstream.cli.parser import UsageError, add_common, any_whole

if TYPE_CHECKING:
    from pbitstream.devices.board import Board
    from pbitstream.devices.network import Server

__all__ = ["EPILOG", "HELP", "add_arguments", "run"]

HELP = "serve a board over TCP, so that programs on other computers can use it as a device"
EPILOG = """\
One client at a time; a second one is told so. A client that vanishes leaves the board idle. Ctrl-C
or SIGTERM lets the board finish what it was asked last, makes it idle and ends; a second Ctrl-C
does not wait.

Other computers need the token: 16 or more characters in a file or in PBITSTREAM_TOKEN, here and
there. It proves who they are and is never sent, but what they send is not encrypted: across a
network that is not yours, serve on 127.0.0.1 and use a tunnel such as ssh -L 7248:127.0.0.1:7248.

examples:
  pbitstream serve -d verilator:                       for programs on this computer
  pbitstream infer -d tcp:127.0.0.1:7248               one of those
  python -c 'import secrets; print(secrets.token_urlsafe())' > token
  pbitstream serve -d verilator: --host 0.0.0.0 --token-file token
  pbitstream infer -d 'tcp:192.168.2.99:7248?token-file=token'
  pbitstream serve -d verilator: --port 0 --json       any free port, named in a line of JSON
"""
#: What a telephone's keys make of PBIT.
PORT = 7248


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS",
                        help="interface to listen at; any but this computer's own asks for a "
                             "token (127.0.0.1)")
    parser.add_argument("--port", type=any_whole, default=PORT, metavar="N",
                        help=f"0 takes a free one ({PORT})")
    parser.add_argument("--token-file", metavar="FILE",
                        help="file with the token that clients must know (PBITSTREAM_TOKEN)")
    add_common(parser, "device", "json", "quiet")


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal; returns 0 after SIGTERM, an interrupt stays one."""
    from pbitstream.devices.network import Server, listen
    from pbitstream.devices.network.tokens import find_token

    output = Output(arguments)
    token = find_token(arguments.token_file)
    # Before the board is opened: that may take a minute, and a mistake here shows at once.
    with listen(arguments.host, arguments.port, token=token) as listener, \
            _board(arguments.device) as board:
        server = Server(board, listener, token=token, log=output.note)
        with _signals(server) as caught:
            _ready(output, arguments.device, server, token is not None)
            server.run()
    if signal.SIGINT in caught:
        raise KeyboardInterrupt
    return 0


def _board(url: str) -> "Board":
    """Open a device and return it, if it is a board behind a link."""
    from pbitstream.devices.board import Board
    from pbitstream.devices.registry import open_device

    device = open_device(url)
    if isinstance(device, Board):
        return device
    device.close()
    raise UsageError(f"--device must be a board behind a link, such as verilator:, not {url!r}, "
                     "which has no link that could be served; it runs where its program runs")


@contextmanager
def _signals(server: "Server") -> Iterator[set[int]]:
    """Let the first signal stop a server, and yield the set of those that came."""
    caught: set[int] = set()

    def stop(number: int, frame: Any) -> None:
        if number in caught:
            raise KeyboardInterrupt
        caught.add(number)
        server.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ready(output: Output, device: str, server: "Server", token: bool) -> None:
    """Say where the server can be reached; others may wait for this line."""
    from pbitstream.devices.network.peer import shown

    host, port = server.address
    url = f"tcp:{shown(server.address)}"
    if output.json:
        line = json.dumps({"url": url, "host": host, "port": port, "device": device,
                           "token": token})
    else:
        line = f"serving {device} as {url}{', with a token' if token else ''}; Ctrl-C ends"
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
