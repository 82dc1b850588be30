"""What the README says is run: its Python blocks, and the commands its shell blocks name."""

import re
from pathlib import Path

import pytest

from pbitstream.cli.entry import commands

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: Commands of tools/run itself.
OWN = {"test", "check"}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("number", range(max(1, len(blocks("python")))))
def test_python_block(number):
    found = blocks("python")
    assert found, "the README shows no Python"
    code = compile(found[number], f"README.md, python block {number + 1}", "exec")
    exec(code, {"__name__": "__main__"})


def test_shell_blocks_name_commands_that_exist():
    lines = [line.split() for block in blocks("sh") for line in block.splitlines()]
    named = [words[1] for words in lines if words and words[0] in ("tools/run", "pbitstream")]
    assert {"infer", "test"} <= set(named), "the README's two commands"
    assert set(named) <= commands().keys() | OWN


def test_table_of_commands_is_complete():
    listed = set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE))
    assert listed == set(commands())


def test_links_lead_to_files():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
