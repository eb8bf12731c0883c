"""Addresses written in headers: ``10.0.0.1``, ``10.0.0.1:8080``, ``"[2001:db8::1]:8080"``, ``2001:db8::1``."""

import cython
from cython.cimports.lbtop.probes.wire.buffer import swap64
from cython.cimports.lbtop.probes.wire.scan import is_blank, is_digit
from cython.cimports.libc.stdint import uint64_t

MAPPED = cython.declare(cython.ulonglong, 0xFFFF0000)
GROUP = cython.declare(cython.int, 0xFFFF)


class AddressText:
    """Text and packed addresses in the buffer to numbers of the address interner."""

    def __init__(self, buffer, addresses):
        self.buffer = buffer
        self.addresses = addresses

    def number(self, offset, end):
        """Number of the address in [offset, end), 0 where it is none (``unknown``, ``_hidden``). ``port`` is set."""
        high: uint64_t = 0
        low: uint64_t = 0
        stop: cython.Py_ssize_t
        colons: cython.int = 0
        at: cython.Py_ssize_t
        self.port = 0
        while offset < end and (is_blank(self.buffer.u8[offset]) or self.buffer.u8[offset] == 0x22):
            offset += 1
        while end > offset and (is_blank(self.buffer.u8[end - 1]) or self.buffer.u8[end - 1] == 0x22):
            end -= 1
        if end <= offset or end - offset > 64:
            return 0
        if end - offset <= 15 and self._dotted(offset, end, cython.address(low)):
            return self.addresses.address(0, MAPPED | (low << 32))
        stop = end
        if self.buffer.u8[offset] == 0x5B:
            offset += 1
            stop = offset
            while stop < end and self.buffer.u8[stop] != 0x5D:
                stop += 1
            if stop == end:
                return 0
            colons = 2
            at = stop + 1
        else:
            at = end
            while stop > offset:
                stop -= 1
                if self.buffer.u8[stop] == 0x3A:
                    colons += 1
                    if colons == 1:
                        at = stop
            stop = end
            if colons == 1:
                stop = at
            else:
                at = end
        if at < end and self.buffer.u8[at] == 0x3A:
            port: cython.int = 0
            at += 1
            while at < end and is_digit(self.buffer.u8[at]) and port < 65536:
                port = port * 10 + (self.buffer.u8[at] - 0x30)
                at += 1
            if at == end and port < 65536:
                self.port = port
        if colons < 2:
            if not self._dotted(offset, stop, cython.address(low)):
                return 0
            low = MAPPED | (low << 32)
        elif not self._colons(offset, stop, cython.address(high), cython.address(low)):
            return 0
        return self.addresses.address(high, low)

    def v4(self, offset):
        """Number of the four packed bytes at ``offset``."""
        return self.addresses.address(0, MAPPED | (cython.cast(cython.ulonglong, self.buffer.u32[offset]) << 32))

    def v6(self, offset):
        """Number of the sixteen packed bytes at ``offset``."""
        return self.addresses.address(self.buffer.u64[offset], self.buffer.u64[offset + 8])

    def _dotted(self, offset, end, low):
        """True for a dotted quad; its four bytes in wire order are the low half of ``low``."""
        at: cython.pointer(cython.uchar)
        last: cython.pointer(cython.uchar)
        digit: cython.uint
        digits: cython.int = 0
        dots: cython.int = 0
        value: cython.uint = 0
        found: cython.uint = 0
        if end <= offset:
            return 0
        at = cython.address(self.buffer.u8[offset])
        last = cython.address(self.buffer.u8[end - 1])
        while at <= last:
            digit = at[0] - cython.cast(cython.uint, 0x30)
            if digit <= 9:
                value = value * 10 + digit
                digits += 1
                if digits > 3:
                    return 0
            elif at[0] == 0x2E and digits and value <= 255 and dots < 3:
                found |= value << (8 * dots)
                dots += 1
                value = 0
                digits = 0
            else:
                return 0
            at += 1
        if dots != 3 or digits == 0 or value > 255:
            return 0
        low[0] = found | (value << 24)
        return 1

    def _colons(self, offset, end, high, low):
        """True for an IPv6 address (RFC 4291 section 2.2; a zone is left out)."""
        groups: cython.int[8]
        count: cython.int = 0
        gap: cython.int = -1
        value: cython.int
        digits: cython.int
        byte: cython.int
        i: cython.int
        start: cython.Py_ssize_t
        tail: uint64_t = 0
        if offset + 1 < end and self.buffer.u8[offset] == 0x3A and self.buffer.u8[offset + 1] == 0x3A:
            gap = 0
            offset += 2
        while offset < end and count < 8 and self.buffer.u8[offset] != 0x25:
            value = 0
            digits = 0
            start = offset
            while offset < end and digits < 5:
                byte = self.buffer.u8[offset]
                if is_digit(byte):
                    byte -= 0x30
                else:
                    byte = (byte | 0x20) - 0x57
                    if byte < 10 or byte > 15:
                        break
                value = (value << 4) | byte
                offset += 1
                digits += 1
            if offset < end and self.buffer.u8[offset] == 0x2E:
                if count > 6 or not self._dotted(start, end, cython.address(tail)):
                    return 0
                tail = swap64(tail) >> 32
                groups[count] = cython.cast(cython.int, tail >> 16) & GROUP
                groups[count + 1] = cython.cast(cython.int, tail & GROUP)
                count += 2
                offset = end
                break
            if digits == 0 or digits == 5:
                return 0
            groups[count] = value
            count += 1
            if offset == end or self.buffer.u8[offset] == 0x25:
                break
            if self.buffer.u8[offset] != 0x3A:
                return 0
            offset += 1
            if offset < end and self.buffer.u8[offset] == 0x3A:
                if gap >= 0:
                    return 0
                gap = count
                offset += 1
            elif offset == end:
                return 0
        if offset < end and self.buffer.u8[offset] != 0x25:
            return 0
        if (gap < 0 and count != 8) or (gap >= 0 and count > 7):
            return 0
        for i in range(8):
            value = 0
            if gap < 0 or i < gap:
                value = groups[i]
            elif i >= 8 - (count - gap):
                value = groups[i - (8 - count)]
            if i < 4:
                high[0] = (high[0] << 16) | cython.cast(cython.ulonglong, value)
            else:
                low[0] = (low[0] << 16) | cython.cast(cython.ulonglong, value)
        high[0] = swap64(high[0])
        low[0] = swap64(low[0])
        return 1
