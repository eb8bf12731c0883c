"""Sensitive values in heads and in the first bytes of request bodies: a class, a name and a keyed hash leave this module.

A class is only reported where its form *and* its place speak for it, because an alarm that is false twice is not read a
third time: a token under a token's name, a card number with a card's length, issuer range and check digit under a card's
name or written in groups.
"""

import cython
from cython.cimports.lbtop.probes.wire.buffer import SCRATCH
from cython.cimports.lbtop.probes.wire.scan import bits, find_byte, holds_folded, is_blank, is_digit, starts_folded
from cython.cimports.libc.stdint import uint64_t


def looks_random(buffer, offset, end):
    """A token rather than a word or a number: 16 characters or more, letters and digits, ten different ones."""
    at: cython.Py_ssize_t
    byte: cython.int
    low: uint64_t = 0
    high: uint64_t = 0
    digits: cython.int = 0
    letters: cython.int = 0
    one: uint64_t = 1
    if end - offset < 16:
        return False
    for at in range(offset, min(end, offset + 64)):
        byte = buffer.u8[at]
        if byte < 64:
            low |= one << byte
        elif byte < 128:
            high |= one << (byte - 64)
        else:
            return False
        if is_digit(byte):
            digits += 1
        elif (byte | 0x20) >= 0x61 and (byte | 0x20) <= 0x7A:
            letters += 1
        elif byte == 0x20:
            return False
    return digits > 1 and letters > 1 and bits(low) + bits(high) >= 10


def issued(buffer, offset, end):
    """A key whose issuer marks it so that it can be found: Google, Stripe, GitHub, GitLab, Slack, SendGrid."""
    first: cython.int = buffer.u8[offset] | 0x20
    size: cython.Py_ssize_t = end - offset
    found: cython.bint = False
    if first == 0x61:
        found = size == 39 and starts_folded(buffer, offset, end, b"aiza", 4)
    elif first == 0x73 or first == 0x72:
        found = starts_folded(buffer, offset + 1, end, b"k_live_", 7)
        found = found or (size == 69 and starts_folded(buffer, offset, end, b"sg.", 3))
    elif first == 0x67:
        found = starts_folded(buffer, offset, end, b"github_pat_", 11) or starts_folded(buffer, offset, end, b"glpat-", 6)
        found = found or (size == 40 and starts_folded(buffer, offset, end, b"gh", 2) and buffer.u8[offset + 3] == 0x5F)
    elif first == 0x78:
        found = size > 24 and starts_folded(buffer, offset, end, b"xox", 3) and buffer.u8[offset + 4] == 0x2D
    return found and looks_random(buffer, offset, end)


class Secrets:
    """Writes SECRET rows for what it recognises."""

    def __init__(self, context: Context):
        self.context = context
        self.buffer = context.buffer
        self.tables = context.tables

    def authorization(self, conn, ts_ns, name, offset, end):
        """An Authorization header's value (RFC 9110 section 11.6.2). Schemes that carry no reusable secret have no row."""
        at: cython.Py_ssize_t = offset
        user: cython.Py_ssize_t
        kind: cython.int
        while at < end and not is_blank(self.buffer.u8[at]):
            at += 1
        if starts_folded(self.buffer, offset, end, b"basic ", 6):
            kind = SK_BASIC_AUTH
        elif starts_folded(self.buffer, offset, end, b"bearer ", 7):
            kind = SK_BEARER_TOKEN
        elif starts_folded(self.buffer, offset, end, b"digest ", 7):
            kind = SK_DIGEST_AUTH
        elif starts_folded(self.buffer, offset, end, b"token ", 6) or starts_folded(self.buffer, offset, end, b"apikey ", 7):
            kind = SK_API_KEY
        else:
            return 0
        while at < end and is_blank(self.buffer.u8[at]):
            at += 1
        if at >= end:
            return 0
        if kind == SK_DIGEST_AUTH:
            # Everything but the user changes from request to request.
            user = at
            while user < end and not starts_folded(self.buffer, user, end, b"username=", 9):
                user += 1
            if user < end:
                at = user
                user = find_byte(self.buffer, at, end, 0x2C)
                if user > at:
                    end = user
        self.context.secret(conn, ts_ns, kind, SENT_BY_CLIENT, name, self.context.sip.of(self.buffer, at, end - at))
        if kind == SK_BEARER_TOKEN:
            self.token(conn, ts_ns, SENT_BY_CLIENT, name, at, end)
        return 0

    def api_key(self, conn, ts_ns, name, offset, end):
        """The value of a header that holds an API key by its name."""
        if end - offset >= 8:
            self.context.secret(
                conn, ts_ns, SK_API_KEY, SENT_BY_CLIENT, name, self.context.sip.of(self.buffer, offset, end - offset)
            )
        return 0

    def pairs(self, conn, ts_ns, offset, end):
        """``name=value&…`` of a query or a form."""
        stop: cython.Py_ssize_t
        equals: cython.Py_ssize_t
        while offset < end:
            stop = find_byte(self.buffer, offset, end, 0x26)
            if stop < 0:
                stop = end
            equals = find_byte(self.buffer, offset, stop, 0x3D)
            if equals > offset:
                self._value(conn, ts_ns, offset, equals, equals + 1, stop)
            offset = stop + 1
        return 0

    def json(self, conn, ts_ns, offset, end):
        """``"name": "value"`` and ``"name": 123`` anywhere in (the beginning of) a JSON text."""
        name: cython.Py_ssize_t
        name_end: cython.Py_ssize_t
        at: cython.Py_ssize_t = offset
        value: cython.Py_ssize_t
        while True:
            name = find_byte(self.buffer, at, end, 0x22) + 1
            if name <= 0:
                return 0
            name_end = self._closing(name, end)
            if name_end < 0:
                return 0
            at = name_end + 1
            while at < end and self.buffer.u8[at] <= 0x20:
                at += 1
            if at >= end or self.buffer.u8[at] != 0x3A:
                continue
            at += 1
            while at < end and self.buffer.u8[at] <= 0x20:
                at += 1
            if at >= end:
                return 0
            value = at
            if self.buffer.u8[at] == 0x22:
                value += 1
                at = self._closing(value, end)
                if at < 0:
                    return 0
                self._value(conn, ts_ns, name, name_end, value, at)
                at += 1
            elif is_digit(self.buffer.u8[at]):
                while at < end and is_digit(self.buffer.u8[at]):
                    at += 1
                self._value(conn, ts_ns, name, name_end, value, at)

    def token(self, conn, ts_ns, sender, name, offset, end):
        """A JWT row if the value is one. True if it is."""
        if not self.is_jwt(offset, end):
            return False
        self.context.secret(conn, ts_ns, SK_JWT, sender, name, self.context.sip.of(self.buffer, offset, end - offset))
        return True

    def _closing(self, offset, end):
        """Where the string that begins at ``offset`` ends, -1 if it goes on."""
        at: cython.Py_ssize_t = offset
        slashes: cython.Py_ssize_t
        while True:
            at = find_byte(self.buffer, at, end, 0x22)
            if at < 0:
                return -1
            slashes = at
            while slashes > offset and self.buffer.u8[slashes - 1] == 0x5C:
                slashes -= 1
            if (at - slashes) & 1 == 0:
                return at
            at += 1

    def _value(self, conn, ts_ns, name, name_end, offset, end):
        kind: cython.int
        value: uint64_t
        first: cython.int
        inner: cython.Py_ssize_t
        inner_end: cython.Py_ssize_t
        if end <= offset:
            return 0
        inner_end = self._inner_end(name, name_end)
        inner = self._inner(name, inner_end) if inner_end < name_end else name
        kind = self.context.parameters.code(inner, inner_end - inner)
        first = self.buffer.u8[offset]
        if kind == 0:
            # Nobody's parameter: only what shows by its own form what it is.
            if first == 0x65 and end - offset > 32 and self.is_jwt(offset, end):
                kind = SK_JWT
            elif first >= 0x32 and first <= 0x36 and end - offset >= 14 and self._card(offset, end, False):
                kind = SK_CARD_NUMBER
            elif issued(self.buffer, offset, end):
                kind = SK_API_KEY
            else:
                return 0
        if kind == SK_CARD_NUMBER:
            value = self._card(offset, end, True)
            if value == 0:
                return 0
        elif kind == SK_PASSWORD:
            # A masked value, or a form's "true", is no password.
            if first == 0x2A or (end - offset <= 5 and starts_folded(self.buffer, offset, end, b"true", 4)):
                return 0
            value = self.context.sip.of(self.buffer, offset, end - offset)
        else:
            if kind != SK_JWT and self.is_jwt(offset, end):
                kind = SK_JWT
            if kind != SK_JWT and not looks_random(self.buffer, offset, end):
                return 0
            value = self.context.sip.of(self.buffer, offset, end - offset)
        self.context.secret(
            conn, ts_ns, kind, SENT_BY_CLIENT, self.tables.strings.intern(name, min(name_end - name, 64), False), value
        )
        return 0

    def _inner_end(self, name, end):
        """Where the innermost part of a name ends: of ``user[password]``, as forms of PHP and Rails nest them, before "]"."""
        if end - name > 2 and self.buffer.u8[end - 1] == 0x5D:
            return end - 1
        if end - name > 6 and starts_folded(self.buffer, end - 3, end, b"%5d", 3):
            return end - 3
        return end

    def _inner(self, name, end):
        """Where the innermost part of a name begins that ends in front of a closing bracket."""
        at: cython.Py_ssize_t = end
        while at > name:
            if self.buffer.u8[at - 1] == 0x5B or (at - name >= 3 and starts_folded(self.buffer, at - 3, end, b"%5b", 3)):
                return at
            at -= 1
        return name

    def is_jwt(self, offset, end):
        """Three base64url parts of which the first is a JSON object with "alg" (RFC 7519 section 3)."""
        at: cython.Py_ssize_t
        byte: cython.int
        dots: cython.int = 0
        first: cython.Py_ssize_t = 0
        out: cython.Py_ssize_t = SCRATCH
        held: cython.uint = 0
        count: cython.int = 0
        if end - offset < 20 or not (
            self.buffer.u8[offset] == 0x65 and self.buffer.u8[offset + 1] == 0x79 and self.buffer.u8[offset + 2] == 0x4A
        ):
            return False
        for at in range(offset, end):
            byte = self.buffer.u8[at]
            if byte == 0x2E:
                dots += 1
                if dots == 1:
                    first = at
            elif not ((byte | 0x20) >= 0x61 and (byte | 0x20) <= 0x7A) and not is_digit(byte) and byte != 0x2D and byte != 0x5F:
                return False
        if dots != 2 or first - offset < 12 or first == end:
            return False
        for at in range(offset, min(first, offset + 512)):
            byte = self.buffer.u8[at]
            if byte >= 0x61:
                byte -= 71
            elif byte == 0x5F:
                byte = 63
            elif byte >= 0x41:
                byte -= 65
            elif byte >= 0x30:
                byte += 4
            else:
                byte = 62
            held = (held << 6) | cython.cast(cython.uint, byte)
            count += 1
            if count == 4:
                self.buffer.u8[out] = (held >> 16) & 0xFF
                self.buffer.u8[out + 1] = (held >> 8) & 0xFF
                self.buffer.u8[out + 2] = held & 0xFF
                out += 3
                count = 0
                held = 0
        if count == 3:
            self.buffer.u8[out] = (held >> 10) & 0xFF
            self.buffer.u8[out + 1] = (held >> 2) & 0xFF
            out += 2
        return holds_folded(self.buffer, SCRATCH, out, b'"alg"', 5)

    def _card(self, offset, end, named):
        """Keyed hash of the digits of a payment card's number; 0 where it is none.

        Length and range of a known issuer, Luhn's check digit, and for a value under a name that says nothing (not
        ``named``) also separators between groups of four.
        """
        digits: cython.int[20]
        count: cython.int = 0
        run: cython.int = 0
        groups: cython.int = 0
        at: cython.Py_ssize_t
        i: cython.int
        byte: cython.int
        total: cython.int = 0
        doubled: cython.int
        prefix: cython.int
        if end - offset < 13 or end - offset > 27:
            return 0
        for at in range(offset, end):
            byte = self.buffer.u8[at]
            if is_digit(byte):
                if count == 19:
                    return 0
                digits[count] = byte - 0x30
                count += 1
                run += 1
            elif byte == 0x20 or byte == 0x2D or byte == 0x2B:
                if run != 4 and run != 6:
                    return 0
                run = 0
                groups += 1
            else:
                return 0
        if count < 13 or (groups == 0 and not named) or (groups and run == 0):
            return 0
        for i in range(count):
            doubled = digits[count - 1 - i]
            if i & 1:
                doubled *= 2
                if doubled > 9:
                    doubled -= 9
            total += doubled
        if total % 10:
            return 0
        prefix = digits[0] * 1000 + digits[1] * 100 + digits[2] * 10 + digits[3]
        if not (
            (digits[0] == 4 and (count == 13 or count == 16 or count == 19))
            or (count == 16 and ((prefix >= 5100 and prefix <= 5599) or (prefix >= 2221 and prefix <= 2720)))
            or (count == 15 and (prefix // 100 == 34 or prefix // 100 == 37))
            or (count >= 16 and (prefix == 6011 or (prefix >= 6440 and prefix <= 6599) or prefix // 100 == 62))
            or (count >= 16 and prefix >= 3528 and prefix <= 3589)
            or (count == 14 and ((prefix >= 3000 and prefix <= 3059) or prefix // 100 == 36 or prefix // 100 == 38))
        ):
            return 0
        for i in range(count):
            self.buffer.u8[SCRATCH + i] = digits[i]
        return self.context.sip.of(self.buffer, SCRATCH, count)
