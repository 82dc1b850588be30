"""Effective settings: option > environment > project file > user file > default.

Both files are TOML with the keys of `KEYS` at top level. The project file is ``pbitstream.toml`` in
the working directory or the nearest directory above it that has one; the user file is
``config.toml`` in the place where the system keeps configuration.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pbitstream.cli.parser import UsageError
from pbitstream.errors import FileFormatError
from pbitstream.spec.noise import WORD_MASK

__all__ = ["KEYS", "Setting", "apply", "effective", "project_file", "user_file"]

PROJECT_FILE = "pbitstream.toml"


@dataclass(frozen=True)
class Key:
    """A setting: its default, what TOML must hold for it, and how text becomes a value."""

    default: Any
    rule: str
    accepts: Callable[[Any], bool]
    parse: Callable[[str], Any]


@dataclass(frozen=True)
class Setting:
    """A value and where it comes from: option, environment, project file, user file, default."""

    value: Any
    origin: str
    where: str | None = None


def _number(text: str) -> Any:
    return int(text) if text.isdecimal() else text


def _switch(text: str) -> Any:
    return {"1": True, "true": True, "0": False, "false": False}.get(text.lower(), text)


KEYS: Mapping[str, Key] = {
    "device": Key("emulator:", "a device URL such as \"emulator:\"",
                  lambda value: isinstance(value, str) and bool(value), str),
    "seed": Key(0, "a whole number between 0 and 2**64 - 1",
                lambda value: type(value) is int and 0 <= value <= WORD_MASK, _number),
    "quiet": Key(False, "true or false", lambda value: isinstance(value, bool), _switch),
}


def apply(arguments: argparse.Namespace) -> None:
    """Fill in what the command line left open, and note every origin in `arguments.settings`.

    Raises
    ------
    UsageError
        If an environment variable holds what its setting cannot be.
    FileFormatError
        If a file is not TOML, or has an unknown key or a wrong value.
    """
    found = effective(vars(arguments))
    for name, setting in found.items():
        if hasattr(arguments, name):
            setattr(arguments, name, setting.value)
    arguments.settings = found


def effective(options: Mapping[str, Any]) -> dict[str, Setting]:
    """Return every setting; `options` holds what the command line gave, None where nothing."""
    files = [("project file", project_file()), ("user file", user_file())]
    tables = [(origin, path, _read(path)) for origin, path in files if path and path.is_file()]
    found = {}
    for name, key in KEYS.items():
        layers = [Setting(options.get(name), "option", f"--{name}"), _environment(name, key)]
        layers += [Setting(table.get(name), origin, str(path)) for origin, path, table in tables]
        layers.append(Setting(key.default, "default"))
        found[name] = next(layer for layer in layers if layer.value is not None)
    return found


def project_file() -> Path | None:
    """Return the nearest ``pbitstream.toml`` in the working directory or above, if any."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / PROJECT_FILE).is_file():
            return folder / PROJECT_FILE
    return None


def user_file() -> Path:
    """Return where the user's file is looked for."""
    from platformdirs import user_config_path

    return Path(user_config_path("pbitstream")) / "config.toml"


def _environment(name: str, key: Key) -> Setting:
    variable = f"PBITSTREAM_{name.upper()}"
    text = os.environ.get(variable, "")
    if not text:
        return Setting(None, "environment")
    value = key.parse(text)
    if not key.accepts(value):
        raise UsageError(f"{variable} must be {key.rule}, not {text!r}")
    return Setting(value, "environment", variable)


def _read(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FileFormatError(f"{path}: not TOML: {error}") from error
    for name, value in table.items():
        if name not in KEYS:
            raise FileFormatError(f"{path}: unknown key {name!r}; known keys are "
                                  f"{', '.join(KEYS)}")
        if not KEYS[name].accepts(value):
            raise FileFormatError(f"{path}: {name} must be {KEYS[name].rule}, not {value!r}")
    return table
