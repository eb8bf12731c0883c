"""The two dates of an X.509 certificate (RFC 5280 section 4.1), found by stepping over DER elements."""

import cython
from cython.cimports.lbtop.probes.wire.dates import civil_seconds
from cython.cimports.lbtop.probes.wire.scan import is_digit


def validity(buffer, offset, end, dates):
    """Writes notBefore and notAfter, in seconds since the epoch, to ``dates``; leaves zeros where the DER is broken."""
    at: cython.Py_ssize_t
    _: cython.int
    dates[0] = 0
    dates[1] = 0
    # Certificate, TBSCertificate; then version, serial number, signature and issuer are passed over.
    at = _inside(buffer, _inside(buffer, offset, end), end)
    if at < 0:
        return 0
    if at < end and buffer.u8[at] == 0xA0:
        at = _behind(buffer, at, end)
    for _ in range(3):
        at = _behind(buffer, at, end)
    at = _inside(buffer, at, end)
    if at < 0:
        return 0
    dates[0] = _time(buffer, at, end)
    dates[1] = _time(buffer, _behind(buffer, at, end), end)
    return 0


def _inside(buffer, at, end):
    """Where the content of the DER element at ``at`` begins; -2 for a broken one."""
    size: cython.int
    if at < 0 or at + 2 > end:
        return -2
    size = buffer.u8[at + 1]
    return at + 2 if size < 0x80 else at + 2 + (size & 0x7F) if size <= 0x84 else -2


def _behind(buffer, at, end):
    """Where the element after the one at ``at`` begins; -2 for a broken one."""
    size: cython.Py_ssize_t
    i: cython.int
    start: cython.Py_ssize_t = _inside(buffer, at, end)
    if start < 0 or start > end:
        return -2
    size = buffer.u8[at + 1]
    if size >= 0x80:
        size = 0
        for i in range(start - at - 2):
            size = (size << 8) | buffer.u8[at + 2 + i]
    return start + size if start + size <= end else -2


def _time(buffer, at, end):
    """Seconds of a UTCTime or GeneralizedTime; 0 for anything else."""
    i: cython.int
    year: cython.int
    parts: cython.int[6]
    start: cython.Py_ssize_t = _inside(buffer, at, end)
    if start < 0:
        return 0
    if start + 13 > end:
        return 0
    if buffer.u8[at] == 0x18:
        if start + 15 > end:
            return 0
        year = _pair(buffer, start) * 100 + _pair(buffer, start + 2)
        start += 4
    elif buffer.u8[at] == 0x17:
        year = _pair(buffer, start)
        year += 2000 if year < 50 else 1900
        start += 2
    else:
        return 0
    for i in range(5):
        parts[i] = _pair(buffer, start + 2 * i)
    return civil_seconds(year, parts[0], parts[1], parts[2], parts[3], parts[4])


def _pair(buffer, at):
    """Two digits."""
    if is_digit(buffer.u8[at]) and is_digit(buffer.u8[at + 1]):
        return (buffer.u8[at] - 0x30) * 10 + buffer.u8[at + 1] - 0x30
    return 0
