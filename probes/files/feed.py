"""The bytes of one capture file: plain, gzip, zstd, or standard input; and what to say where they are none."""

from __future__ import annotations

import io
import os
import stat
import sys
import zlib
from typing import Any, Protocol

from lbtop.model.errors import LbtopError
from lbtop.model.text import safe_text

STDIN = "-"
_HEAD = 8
_PIECE = 1 << 18
_ZSTD_WINDOW = 1 << 27  # bytes: what `zstd --long` uses at most; more is an attack on memory


class _Reader(Protocol):
    def readinto(self, target: memoryview, /) -> int | None: ...
    def close(self) -> None: ...


class Feed:
    """Reads one input from its beginning. ``cut`` becomes true when compressed data end early or are damaged."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = "standard input" if path == STDIN else safe_text(path)
        self.raw_bytes = 0
        self.cut = False
        self._file = _open(path, self.name)
        self._unread = b""
        self._reader: _Reader | None = None
        head = self._peek(_HEAD)
        if head[:2] == b"\x1f\x8b":
            self._reader = _Gzip(self)
        elif head[:4] == b"\x28\xb5\x2f\xfd":
            self._reader = _Zstd(self)
        self._taken = b""  # decompressed bytes looked at ahead of time

    def readinto(self, target: memoryview) -> int:
        """Bytes read into ``target``; 0 at the end."""
        if self._taken:
            size = min(len(self._taken), len(target))
            target[:size] = self._taken[:size]
            self._taken = self._taken[size:]
            return size
        if self._reader is None:
            return self._read_raw(target)
        try:
            return self._reader.readinto(target) or 0
        except (zlib.error, _zstd_error()):
            self.cut = True
            return 0

    def look(self, size: int) -> bytes:
        """The next bytes, at least ``size`` unless the input ends before, without consuming them."""
        piece = memoryview(bytearray(max(size, 4096)))
        kept = b""
        while len(self._taken) + len(kept) < size:
            kept += self._taken
            self._taken = b""
            got = self.readinto(piece[: max(size - len(kept), 1)])
            if not got:
                break
            kept += bytes(piece[:got])
        self._taken = kept + self._taken
        return self._taken[:size]

    def drop(self, size: int) -> None:
        """Consumes bytes that :meth:`look` has shown."""
        self._taken = self._taken[size:]

    def plain(self) -> tuple[io.FileIO, int] | None:
        """The file and the place in it up to which it is consumed, where its bytes are as stored and can be read at any place."""
        if self._reader is not None or self.path == STDIN or size_of(self.path) is None:
            return None
        return self._file, self.raw_bytes - len(self._taken)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        if self.path != STDIN:
            self._file.close()

    def _peek(self, size: int) -> bytes:
        piece = memoryview(bytearray(size))
        while len(self._unread) < size:
            try:
                got = self._file.readinto(piece[: size - len(self._unread)])
            except OSError as error:
                raise LbtopError(f"cannot read {self.name}: {error.strerror}") from None
            if not got:
                break
            self._unread += bytes(piece[:got])
        return self._unread

    def _read_raw(self, target: memoryview) -> int:
        if self._unread:
            size = min(len(self._unread), len(target))
            target[:size] = self._unread[:size]
            self._unread = self._unread[size:]
        else:
            try:
                size = self._file.readinto(target) or 0
            except OSError as error:
                raise LbtopError(f"cannot read {self.name}: {error.strerror}") from None
        self.raw_bytes += size
        return size


class _Gzip:
    """gzip (RFC 1952), several members one after the other, never more than was asked for at a time."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._piece = memoryview(bytearray(_PIECE))
        self._engine = zlib.decompressobj(31)
        self._pending = b""

    def readinto(self, target: memoryview) -> int:
        while True:
            if not self._pending:
                got = self._feed._read_raw(self._piece)
                self._pending = bytes(self._piece[:got])
                if not got:
                    self._feed.cut = not self._engine.eof
                    return 0
            if self._engine.eof:
                if self._pending[:1] == b"\x00":  # padding after the last member
                    self._pending = self._pending.lstrip(b"\x00")
                    continue
                self._engine = zlib.decompressobj(31)
            found = self._decompress(len(target))
            self._pending = self._engine.unused_data if self._engine.eof else self._engine.unconsumed_tail
            if found:
                target[: len(found)] = found
                return len(found)

    def _decompress(self, most: int) -> bytes:
        """The next bytes, at most so many. Raises zlib.error where the data are damaged, and not a byte before.

        zlib itself gives nothing of a call in which it meets the damage: what can be had before it is asked for in smaller calls.
        """
        before = self._engine.copy()
        while True:
            try:
                return self._engine.decompress(self._pending, most)
            except zlib.error:
                if most == 1:
                    raise
                most = (most + 3) // 4
                self._engine, before = before, before.copy()

    def close(self) -> None:
        pass


class _Zstd:
    """Zstandard (RFC 8878), where the ``zstandard`` package is there."""

    def __init__(self, feed: Feed) -> None:
        try:
            import zstandard
        except ImportError:
            raise LbtopError(
                f"{feed.name} is compressed with zstd, and the Python package zstandard is not there: "
                f"pip install 'lbtop[zstd]', or unpack it with zstd -d"
            ) from None
        source = io.BufferedReader(_Raw(feed), _PIECE)
        self._stream: Any = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(
            source, read_across_frames=True
        )
        # Always asked for as much at a time: how much is had in front of damage must not hang on who reads how much.
        self._piece = bytearray(_PIECE)
        self._unread = memoryview(b"")

    def readinto(self, target: memoryview) -> int:
        if not self._unread:
            self._unread = memoryview(self._piece)[: self._stream.readinto(self._piece)]
        size = min(len(self._unread), len(target))
        target[:size] = self._unread[:size]
        self._unread = self._unread[size:]
        return size

    def close(self) -> None:
        self._stream.close()


class _Raw(io.RawIOBase):
    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        return self._feed._read_raw(memoryview(target))


def _zstd_error() -> type[Exception]:
    """The package's own exception without importing the package."""
    module = sys.modules.get("zstandard")
    return module.ZstdError if module is not None else zlib.error


def _open(path: str, name: str) -> io.FileIO:
    if path == STDIN:
        if sys.stdin is None or sys.stdin.isatty():
            raise LbtopError("standard input is a terminal: pipe a capture into it, for example tcpdump -w - | lbtop … -")
        return io.FileIO(sys.stdin.fileno(), closefd=False)
    try:
        file = io.FileIO(path)
    except IsADirectoryError:
        held = _captures_in(path)
        pattern = f"{name.rstrip('/')}/*{held or '.pcap'}"
        raise LbtopError(f"{name} is a directory: name the capture files in it, for example '{pattern}'") from None
    except FileNotFoundError:
        if os.path.exists(f"{path}0") or os.path.exists(f"{path}00"):
            raise LbtopError(f"{name}: no such file, but there is a rotated set of that name: give '{name}*'") from None
        raise LbtopError(f"{name}: no such file; give the path of a pcap or pcapng capture") from None
    except OSError as error:
        raise LbtopError(f"cannot read {name}: {error.strerror}") from None
    return file


def _captures_in(folder: str) -> str:
    """How most captures in a folder end, "" where nothing there is named like one."""
    endings = (".pcap", ".pcapng", ".cap", ".dmp", ".lbtop")
    found: dict[str, int] = {}
    try:
        with os.scandir(folder) as entries:
            for entry, _ in zip(entries, range(10_000), strict=False):
                stem = entry.name.lower().removesuffix(".gz").removesuffix(".zst")
                ending = next((end for end in endings if stem.endswith(end)), None)
                if ending is not None:
                    ending += entry.name[len(stem) :]
                    found[ending] = found.get(ending, 0) + 1
    except OSError:
        return ""
    return max(found, key=lambda ending: found[ending], default="")


def size_of(path: str) -> int | None:
    """Bytes of a regular file; None where that cannot be known beforehand."""
    if path == STDIN:
        return None
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
