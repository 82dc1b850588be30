"""`pbitstream flash` reads back from the RTL itself, over a serial line."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from loading import IMAGE, Done, Place
from pbitstream.spec import spec_digest
from pbitstream_sim.serial_board import open_pty, serve
from pbitstream_sim.serial_line import SerialSimulation, serial_verilog


@pytest.mark.long
def test_the_rtl_says_what_it_is(run: Callable[..., Done], place: Place,
                                 stub: Callable[[str], Path]) -> None:
    stub("good")
    with SerialSimulation(serial_verilog(IMAGE)) as board:
        ours, theirs = open_pty()
        done = threading.Event()
        server = threading.Thread(target=serve, args=(board, ours, done.is_set))
        server.start()
        port = f"serial:{os.ttyname(theirs)}"
        try:
            made = place.write()
            right = run("flash", "ulx3s", "--port", port, "--json")
            place.write(image=type(IMAGE)(lanes=8, max_units=1024, max_rank_words=1024))
            wrong = run("flash", "ulx3s", "--port", port, "--quiet")
        finally:
            done.set()
            server.join()
            os.close(ours)
            os.close(theirs)
    assert right.code == 0, right.err
    assert json.loads(right.out)["read_back"] == {
        "port": port, "spec_digest": spec_digest(), "image": made.to_dict()["image"]}
    assert wrong.code == 4
    assert "holds another one" in wrong.err
