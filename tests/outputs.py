"""Everything lbtop can write about a capture, as bytes: what a test about leaks has to look through."""

from __future__ import annotations

import base64
import binascii
import contextlib
import gzip
import hashlib
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import numpy as np

from lbtop.cli import main
from lbtop.engine import diagnose
from lbtop.faces.metrics import metrics
from lbtop.recording.format import read_frames
from tests.readers import open_decoded

Output = Callable[[Path, Path], bytes]


def printed(*arguments: str) -> Output:
    """Standard output and standard error of a command together."""

    def run(capture: Path, folder: Path) -> bytes:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main([*arguments, str(capture)])
        assert status in (0, 1), err.getvalue()
        return (out.getvalue() + err.getvalue()).encode()

    return run


def written(name: str, *arguments: str) -> Output:
    """The file a command writes, as it lies there and unpacked."""

    def run(capture: Path, folder: Path) -> bytes:
        path = folder / name
        said = printed(*arguments, "-o", str(path))(capture, folder)
        content = path.read_bytes()
        if name.endswith(".lbtop"):
            with path.open("rb") as file:
                file.seek(len(b"lbtoprec") + 2)
                content += b"\n".join(body for _, body in read_frames(file))
        return said + content

    return run


def whole_snapshot(capture: Path, folder: Path) -> bytes:
    """Every text in the frame that all faces, the dashboard among them, draw from; and what the metrics make of it."""
    source = open_decoded(capture)
    try:
        snapshot = diagnose(source)
    finally:
        source.close()
    return "\n".join([*_texts(snapshot), *(str(sample) for family in metrics(snapshot) for sample in family.samples)]).encode()


def _texts(value: Any) -> Iterator[str]:
    if is_dataclass(value) and not isinstance(value, type):
        for member in fields(value):
            yield from _texts(getattr(value, member.name))
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from _texts(key)
            yield from _texts(member)
    elif isinstance(value, list | tuple | set | frozenset):
        for member in value:
            yield from _texts(member)
    elif isinstance(value, bytes):
        yield value.decode("latin-1")
    elif value is not None:
        yield str(value)


OUTPUTS: dict[str, Output] = {
    "diagnose": printed("diagnose", "--evidence"),
    "diagnose --json": printed("diagnose", "--json"),
    "observe": printed("observe"),
    "observe --format csv": printed("observe", "--format", "csv"),
    "report": written("x.html", "report"),
    "record": written("x.lbtop", "record"),
    "whatif": printed("whatif", "--balancing", "random", "--targets", "+1"),
    "whatif --json": printed("whatif", "--balancing", "source_ip", "--json"),
    "replay, live, serve": whole_snapshot,
}
READ_NO_CAPTURE = {"explain", "doctor", "completion"}
"""Commands whose output cannot hold anything of a capture."""


def unfolded(output: bytes) -> bytes:
    """The output and what can be read out of it: percent-decoded, and every base64 or hexadecimal word decoded."""
    pieces = [output, unquote_to_bytes(output)]
    for word in set(re.findall(rb"[A-Za-z0-9+/_-]{8,}={0,2}", output)):
        padded = word.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        with contextlib.suppress(binascii.Error, ValueError):
            pieces.append(base64.b64decode(padded + b"=" * (-len(padded) % 4)))
    for word in set(re.findall(rb"[0-9a-fA-F]{12,}", output)):
        pieces.append(bytes.fromhex(word.decode()[: len(word) // 2 * 2]))
    for at in (found.start() for found in re.finditer(rb"\x1f\x8b\x08", output)):
        with contextlib.suppress(OSError, EOFError, Exception):
            pieces.append(gzip.decompress(output[at:]))
    return b"\n".join(pieces)


def found_in(haystack: bytes, needles: set[bytes]) -> list[bytes]:
    """Which needles stand in the haystack: by their first eight bytes, all at once, then to the end."""
    short = [needle for needle in needles if len(needle) < 8 and needle in haystack]
    by_start: dict[int, list[bytes]] = {}
    for needle in needles:
        if len(needle) >= 8:
            by_start.setdefault(int.from_bytes(needle[:8], "little"), []).append(needle)
    if len(haystack) < 8 or not by_start:
        return short
    windows = np.lib.stride_tricks.as_strided(np.frombuffer(haystack, np.uint64, 1), (len(haystack) - 7,), (1,))
    hits = np.flatnonzero(np.isin(windows, np.array(sorted(by_start), np.uint64)))
    return short + sorted(
        {needle for at in hits.tolist() for needle in by_start[int(windows[at])] if haystack.startswith(needle, at)}
    )


def disguises(secret: bytes) -> set[bytes]:
    """A secret and what gives it away: encoded, reversed, or as a digest without a key."""
    digests = [hashlib.new(name, secret).hexdigest().encode() for name in ("md5", "sha1", "sha256", "sha512", "blake2b")]
    return {
        secret,
        quote(secret.decode("latin-1"), safe="").encode(),
        base64.b64encode(secret).rstrip(b"="),
        base64.urlsafe_b64encode(secret).rstrip(b"="),
        secret.hex().encode(),
        secret[::-1],
        *(digest[:16] for digest in digests),
    }
