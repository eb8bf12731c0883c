"""What attacks cost: ``python -m tests.bench.attacks`` prints the table of docs/safety.md (processor time and peak memory).

tests/test_attacks.py asserts what comes out of the same inputs; here they have the size that the promise names.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests import attacks
from tests.test_attacks import gzipped, zeros

MEASURE = (
    "import json, os, resource, subprocess, sys; status = subprocess.call(sys.argv[2:], stdout=subprocess.DEVNULL); "
    "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
    "os.write(int(sys.argv[1]), json.dumps([status, used.ru_utime + used.ru_stime, used.ru_maxrss]).encode())"
)
"""In a small process of its own: the kernel counts the memory of whoever forks as the child's, too."""


def pcapng_block(size: int) -> Iterator[bytes]:
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    yield section + struct.pack("<IIHHII", 1, 20, 101, 0, 0, 20) + struct.pack("<II", 6, size) + bytes(100_000)


def endless_line() -> Iterator[bytes]:
    yield attacks.conversation(("C", b"GET / HTTP/1.1\r\nHost: shop.example\r\nX: " + b"a" * 200_000_000))


def cookies(count: int) -> Iterator[bytes]:
    line = b"; ".join(b"n%d=v" % number for number in range(count))
    yield attacks.conversation(("C", b"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + line + b"\r\n\r\n"))


def squeezed(megabytes: int) -> Iterator[bytes]:
    yield gzipped(zeros(megabytes))


def squeezed_by_zstd(megabytes: int) -> Iterator[bytes]:
    import zstandard

    squeezer = zstandard.ZstdCompressor(3).compressobj()
    yield b"".join(map(squeezer.compress, zeros(megabytes))) + squeezer.flush()


ATTACKS: dict[str, Callable[[], Iterable[bytes]]] = {
    "nothing (an empty capture)": lambda: [attacks.HEADER],
    "10,000,000 SYNs from random addresses around 3 connections": lambda: attacks.syn_flood(10_000_000),
    "gzip of 2 GB of empty records": lambda: squeezed(2000),
    "zstd of 2 GB of empty records": lambda: squeezed_by_zstd(2000),
    "a pcapng block of 4 GB": lambda: pcapng_block(0xFFFFFFF0),
    "a pcapng block of 256 MB that does not come": lambda: pcapng_block(0x0FFFFFF0),
    "a header line of 200 MB": endless_line,
    "100,000 cookies in a request": lambda: cookies(100_000),
    "1,000,000 fragments never completed": lambda: attacks.fragments(1_000_000),
    "10,000 services on 5,000 addresses": lambda: attacks.services(10_000, 5000),
}


def cost(pieces: Iterable[bytes]) -> tuple[int, float, float, int]:
    """Exit status, seconds of processor time, megabytes at the peak, and bytes of input."""
    read, write = os.pipe()
    lbtop = str(Path(sys.executable).with_name("lbtop"))
    command = [sys.executable, "-S", "-c", MEASURE, str(write), lbtop, "diagnose", "--json", "-"]
    size = 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=[write]) as process:
        os.close(write)
        assert process.stdin is not None
        try:
            for piece in pieces:
                size += len(piece)
                process.stdin.write(piece)
            process.stdin.close()
        except BrokenPipeError:
            pass  # refused before the end
    with os.fdopen(read) as told:
        status, seconds, kilobytes = json.load(told)
    return status, seconds, kilobytes / 1024, size


def main() -> int:
    print("| attack | input | processor time | peak memory | exit status |\n|---|---|---|---|---|", flush=True)
    for name, pieces in ATTACKS.items():
        status, seconds, megabytes, size = cost(pieces())
        print(f"| {name} | {size / 1e6:,.1f} MB | {seconds:.2f} s | {megabytes:.0f} MB | {status} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
