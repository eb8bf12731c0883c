"""Compiles and loads a program in a short-lived child process, which hands over descriptors and nothing else.

The compiler inside bcc takes some 110 MB and is needed for a fifth of a second: it goes with the child. What it prints goes
nowhere near the screen.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

from lbtop.probes.ebpf.toolchain import Unavailable, load_bcc

_LOADED = b"loaded"
_PATIENCE_S = 30.0
_MOST_SAID = 4000


def load_socket_filter(text: bytes, function: bytes, maps: Sequence[bytes], flags: Sequence[str]) -> list[int]:
    """Descriptors of the program and of its maps, in their order. They are freed when they are closed. Raises Unavailable."""
    return load_programs(text, [(function, "SOCKET_FILTER")], maps, flags)


def load_programs(text: bytes, functions: Sequence[tuple[bytes, str]], maps: Sequence[bytes], flags: Sequence[str]) -> list[int]:
    """The same for several programs of one text: functions with their kinds as bcc names them (``KPROBE`` is a uprobe's too)."""
    count = len(functions) + len(maps)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            ours.close()
            _in_child(theirs, text, functions, maps, flags)
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    try:
        ours.settimeout(_PATIENCE_S)
        said, descriptors, _, _ = socket.recv_fds(ours, _MOST_SAID, count)
    except OSError as error:
        os.kill(child, signal.SIGKILL)
        raise Unavailable(f"the compiler gave no answer ({error})") from None
    finally:
        ours.close()
        os.waitpid(child, 0)
    if said != _LOADED or len(descriptors) != count:
        for descriptor in descriptors:
            os.close(descriptor)
        raise Unavailable(said.decode("utf-8", "replace") or "the compiler ended without an answer")
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return descriptors


def _in_child(
    link: socket.socket, text: bytes, functions: Sequence[tuple[bytes, str]], maps: Sequence[bytes], flags: Sequence[str]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.set_blocking(write_end, False)
    for stream in (1, 2):
        os.dup2(write_end, stream)
    try:
        bcc = load_bcc()
        try:
            program = bcc.BPF(text=text, cflags=list(flags))
            descriptors = [program.load_func(name, getattr(bcc.BPF, kind)).fd for name, kind in functions]
            descriptors += [program[name].map_fd for name in maps]
        except Exception as error:
            printed = b""
            with suppress(BlockingIOError):
                printed = os.read(read_end, 65536)
            detail = " ".join(printed.decode("utf-8", "replace").split())[-200:] or str(error)
            raise Unavailable(f"the program could not be loaded ({detail})") from None
    except Unavailable as why:
        link.send(str(why).encode()[:_MOST_SAID])
    else:
        socket.send_fds(link, [_LOADED], descriptors)
