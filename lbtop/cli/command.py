"""What every command shares: its shape, and what argparse does not do by itself."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, NoReturn, Protocol, cast

from lbtop.model.errors import LbtopError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


class Command(Protocol):
    """A module in lbtop.cli."""

    SUMMARY: str  # one line, lower case, no full stop: for the list of commands
    EXAMPLES: tuple[str, ...]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, options: argparse.Namespace) -> int: ...


def load(name: str) -> Command:
    return cast(Command, importlib.import_module(f"lbtop.cli.{name}"))


class _Help(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal. argparse makes one for every option, and without a width imports shutil and its compressors."""

    def __init__(self, prog: str) -> None:
        width = 80
        with contextlib.suppress(OSError, ValueError):
            width = int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size(1).columns or width
        super().__init__(prog, width=width - 2)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line instead of the usage and one."""
        raise LbtopError(f"{message} ({self.prog} --help has the options)")

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        """argparse's own passes over errors: help that could not be written is none."""
        (file or sys.stderr).write(message)


def parser(name: str, command: Command) -> argparse.ArgumentParser:
    """The options of one command, with its examples under them. Parsing raises LbtopError."""
    made = _Parser(
        prog=f"lbtop {name}",
        description=command.SUMMARY[0].upper() + command.SUMMARY[1:] + ".",
        epilog="examples:\n" + "\n".join(f"  {line}" for line in command.EXAMPLES),
        formatter_class=_Help,
        allow_abbrev=False,
    )
    command.add_arguments(made)
    return made


_SIGNED = re.compile(r"-\d[\w.:]*$")
_TAKES_SIGNED = {"--since", "--until"}


def signed_values(arguments: Iterable[str]) -> list[str]:
    """``--until -5m`` as ``--until=-5m``: argparse takes a value that begins with a dash for another option."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in _TAKES_SIGNED and _SIGNED.match(argument):
            joined[-1] += "=" + argument
        else:
            joined.append(argument)
    return joined
