"""The command line: options, exit statuses, and nothing that a face or the engine could do.

A command is one module here with ``SUMMARY``, ``EXAMPLES``, ``add_arguments(parser)`` and ``run(arguments) -> status``, and
one entry in :data:`COMMANDS`. Only the module of the command that is asked for is imported, so that ``lbtop --version``
answers at once and ``lbtop diagnose`` pays for nothing it does not use.

Exit statuses: 0 all is well, 1 findings above info or a missed expectation, 2 unusable input or arguments. A bug is none of
them: a traceback, and status 70 (EX_SOFTWARE), so that nobody's audit takes a crash for a finding.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from lbtop import __version__
from lbtop.model.errors import LbtopError

COMMANDS = ("live", "replay", "diagnose", "observe", "report", "whatif", "record", "serve", "explain", "doctor", "completion")
OK, FINDINGS, UNUSABLE = 0, 1, 2
BUG, INTERRUPTED = 70, 130
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_STACK_SLOTS = 24_000
"""Pointers: 188 KB of a piece of 256 KB, of which nothing is touched that is not used."""

_HEAD = """\
lbtop: where TLS ends, what pins clients to targets and why one target is hot, from traffic alone.

usage: lbtop COMMAND [options]        without a command: live. lbtop COMMAND --help has the options and examples
"""


def process() -> NoReturn:
    """What the installed script runs: :func:`main`, and then the end of the process, at once.

    Taking an interpreter down object by object is a tenth of a short diagnosis, and so is collecting garbage every 700
    objects while modules make tens of thousands that stay.
    """
    gc.set_threshold(50_000, 20, 50)
    # CPython keeps frames in pieces of 16 KB and gives a piece back as soon as the first frame in it returns: a loop whose calls
    # happen to begin a new piece maps and unmaps memory each time, which made a tenth of a short diagnosis. A frame that asks for
    # much room gets a large piece, and those of everything below it lie in the rest of it.
    main.__code__ = main.__code__.replace(co_stacksize=_STACK_SLOTS)
    status = main()
    threading = sys.modules.get("threading")
    if threading is not None and threading.active_count() > 1:
        sys.exit(status)  # somebody is still at work
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    _open_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start a thread per core, and none is ever used
    try:
        status = _dispatch(arguments)
        sys.stdout.flush()
        return status
    except LbtopError as error:
        print(f"lbtop: {error}", file=sys.stderr)
        return UNUSABLE
    except BrokenPipeError:
        _drop_output()  # whoever read our output has seen enough (`| head`)
        return OK
    except OSError as error:
        if error.errno not in _NO_ROOM:
            return _bug()
        _drop_output()
        print(f"lbtop: cannot write standard output: {error.strerror}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:
        return _bug()


def _bug() -> int:
    import traceback

    traceback.print_exc()
    return BUG


def _open_streams() -> None:
    """Streams that were closed (`>&-`) are None in Python: what is written there goes nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - as long as the process lives


def _drop_output() -> None:
    """What is still to be written to standard output is not: Python would complain once more when it closes it."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(arguments: list[str]) -> int:
    if not arguments and sys.stdin.isatty() and sys.stdout.isatty():
        return _run("live", [])
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        if len(arguments) > 1 and arguments[1] in COMMANDS:
            return _run(arguments[1], ["--help"])
        print(_overview(), end="")
        return OK if arguments else UNUSABLE
    if arguments[0] in ("-V", "--version"):
        print(f"lbtop {__version__}")
        return OK
    if arguments[0].startswith("-"):  # `lbtop -i eth0`: the options of live
        return _run("live", arguments)
    if arguments[0] not in COMMANDS:
        raise LbtopError(
            f"no command {arguments[0]!r}; commands: {', '.join(COMMANDS)} (lbtop --help){_did_you_mean(arguments[0])}"
        )
    return _run(arguments[0], arguments[1:])


def _run(name: str, arguments: list[str]) -> int:
    from lbtop.cli.command import load, parser, signed_values

    command = load(name)
    try:
        options = parser(name, command).parse_args(signed_values(arguments))
    except SystemExit as exit_:  # --help
        return int(exit_.code or 0)
    return command.run(options)


def _overview() -> str:
    from lbtop.cli.command import load

    lines = [_HEAD, "commands:"]
    lines += [f"  {name:<10} {load(name).SUMMARY}" for name in COMMANDS]
    lines += ["", "examples:"]
    lines += [f"  {load(name).EXAMPLES[0]}" for name in COMMANDS]
    return "\n".join(lines) + "\n"


def _did_you_mean(word: str) -> str:
    if os.path.exists(word):
        return f"; to diagnose a capture: lbtop diagnose {word}"
    import difflib

    close = difflib.get_close_matches(word, COMMANDS, 1)
    return f"; did you mean {close[0]!r}?" if close else ""
