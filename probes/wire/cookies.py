"""Cookies of request heads and Set-Cookie of response heads: one COOKIE row each, values only as keyed hashes."""

import cython
import numpy as np
from cython.cimports.lbtop.probes.wire.dates import http_date
from cython.cimports.lbtop.probes.wire.scan import find_byte, is_blank, is_digit, starts_folded
from cython.cimports.lbtop.probes.wire.secrets import looks_random
from cython.cimports.libc.stdint import int64_t

MOST_NAMED = 4096
LONGEST_DECODED = 1024
PATIENCE = 16
"""Values of one name that named no target before its values are no longer asked."""
MOST_TARGETS = 1024
"""Targets whose digests are kept."""
SECOND = cython.declare(int64_t, 1_000_000_000)
MINUTE = cython.declare(int64_t, 15)
MONTH = cython.declare(int64_t, 31 * 21_600)
LONGEST_AGE = cython.declare(int64_t, 10 * 366 * 86400)


class Cookies:
    """Writes COOKIE rows, and remembers what the head's session cookies were until :meth:`secrets` is called."""

    def __init__(self, context: Context, secrets):
        self.context = context
        self.secrecy = secrets
        self.buffer = context.buffer
        self.tables = context.tables
        self.kinds = np.zeros(self.tables.strings.cap + 1, np.uint16)
        self.asks = context.recognition.decode is not None
        self.named = {}
        self.strangers = {}
        self.targets = set()
        self.digests = {}

    def kind(self, name):
        """S_* bits of a cookie's name."""
        if not self.kinds[name] & S_COOKIE:
            with cython.gil:
                self._classify(name)
        return self.kinds[name]

    def _session(self, kind, offset, end, known):
        """Is the value a session's? By its cookie's name, or because it looks like one (or was ``known``) under a likely name."""
        if kind & (S_SESSION | S_NEVER | S_BALANCER):
            return kind & S_SESSION != 0
        if kind & S_LIKELY and (known or looks_random(self.buffer, offset, end)):
            return True
        return end - offset > 32 and self.buffer.u8[offset] == 0x65 and self.secrecy.is_jwt(offset, end)

    def browser(self, agent):
        """Is this User-Agent a mainstream browser's?"""
        if not self.kinds[agent] & S_AGENT:
            with cython.gil:
                self._classify_agent(agent)
        return self.kinds[agent] & S_BROWSER != 0

    def begin(self):
        """Before the first Cookie or Set-Cookie line of a head."""
        self.sessions = 0
        self.count = 0
        self.flags = 0
        return 0

    def request(self, conn, ts_ns, request, forwarded0, pending, offset, end, cut):
        """The pairs of one Cookie line (RFC 6265 section 4.2.1). ``cut``: the line's last value may go on."""
        at: cython.Py_ssize_t = offset
        stop: cython.Py_ssize_t
        equals: cython.Py_ssize_t
        last: cython.Py_ssize_t
        name: cython.uint
        kind: cython.int
        row: cython.pointer(CookieRow)
        while at < end and self.count < MOST_COOKIES:
            stop = find_byte(self.buffer, at, end, 0x3B)
            if stop < 0:
                stop = end
            last = stop
            while at < last and is_blank(self.buffer.u8[at]):
                at += 1
            while last > at and is_blank(self.buffer.u8[last - 1]):
                last -= 1
            equals = find_byte(self.buffer, at, last, 0x3D)
            if equals > at:
                name = self.tables.strings.intern(at, min(equals - at, LONGEST_COOKIE_NAME), False)
                row = self._row(conn, ts_ns, request, name, equals + 1, last)
                row.forwarded0 = forwarded0
                kind = self.kind(name)
                if kind & S_BALANCER:
                    row.flags |= CK_BALANCER
                if not (cut and stop == end):
                    self._dated(row, ts_ns, equals + 1, last)
                if kind & S_SECURE_PREFIX:
                    self.flags |= RQ_SECURE_COOKIE_PREFIX
                if cut and stop == end:
                    row.flags |= CK_CUT
                if not row.flags & CK_CUT and self._session(kind, equals + 1, last, False):
                    row.flags |= CK_SESSION
                    self.flags |= RQ_SESSION
                    self.found[self.sessions].name = name
                    self.found[self.sessions].value = row.value
                    self.found[self.sessions].offset = equals + 1
                    self.found[self.sessions].length = last - equals - 1
                    self.sessions += 1
                if not row.flags & CK_CUT:
                    if pending:
                        self._present(pending, name, row.value, row.flags & CK_SESSION != 0)
                    if not kind & S_MUTE and (kind & S_DECODES or self._may_name(equals + 1, last)):
                        with cython.gil:
                            self._decode(row, equals + 1, last - equals - 1)
                self.count += 1
            at = stop + 1
        return 0

    def response(self, conn, ts_ns, request, pending, offset, end, cut):
        """One Set-Cookie line (RFC 6265 section 4.1.1)."""
        i: cython.int
        stop: cython.Py_ssize_t = find_byte(self.buffer, offset, end, 0x3B)
        after: cython.Py_ssize_t = stop + 1
        equals: cython.Py_ssize_t
        name: cython.uint
        kind: cython.int
        row: cython.pointer(CookieRow)
        if self.count >= MOST_COOKIES:
            return 0
        if stop < 0:
            stop = end
            after = end
        cut = cut and after == end
        while stop > offset and is_blank(self.buffer.u8[stop - 1]):
            stop -= 1
        equals = find_byte(self.buffer, offset, stop, 0x3D)
        if equals <= offset:
            return 0
        name = self.tables.strings.intern(offset, min(equals - offset, LONGEST_COOKIE_NAME), False)
        row = self._row(conn, ts_ns, request, name, equals + 1, stop)
        row.flags = CK_SET | CK_CUT if cut else CK_SET
        row.lifetime_ns = -1
        self._attributes(row, ts_ns, after, end)
        kind = self.kind(name)
        if kind & S_BALANCER:
            row.flags |= CK_BALANCER
        if not cut:
            self._dated(row, ts_ns, equals + 1, stop)
        if pending:
            for i in range(self.context.pending[pending].presented):
                if self.context.pending[pending].names[i] == name:
                    row.presented = self.context.pending[pending].values[i]
        if not cut and self._session(kind, equals + 1, stop, row.presented != 0):
            row.flags |= CK_SESSION
            if row.flags & CK_DELETE:
                self.flags |= RS_SESSION_DELETED
            else:
                self.flags |= RS_SESSION_ISSUED
                if row.presented and row.presented != row.value and not cut:
                    self.flags |= RS_SESSION_REISSUED
                self.found[self.sessions].name = name
                self.found[self.sessions].value = row.value
                self.found[self.sessions].offset = equals + 1
                self.found[self.sessions].length = stop - equals - 1
                self.sessions += 1
        if not cut and not kind & S_MUTE and (kind & S_DECODES or self._may_name(equals + 1, stop)):
            with cython.gil:
                self._decode(row, equals + 1, stop - equals - 1)
        self.count += 1
        return 0

    def secrets(self, conn, ts_ns, sender):
        """SECRET rows of the head's session cookies. They stand after its COOKIE rows, which are contiguous."""
        i: cython.int
        kind: cython.int = SK_SESSION_COOKIE if sender == SENT_BY_CLIENT else SK_SET_COOKIE_SESSION
        for i in range(self.sessions):
            self.context.secret(conn, ts_ns, kind, sender, self.found[i].name, self.found[i].value)
            self.secrecy.token(
                conn, ts_ns, sender, self.found[i].name, self.found[i].offset, self.found[i].offset + self.found[i].length
            )
        return 0

    def _row(self, conn, ts_ns, request, name, value, end):
        row: cython.pointer(CookieRow) = cython.address(self.tables.cookies[self.tables.add_cookie()])
        row.at_ns = ts_ns
        row.conn = conn.conn
        row.request = request
        row.name = name
        row.value = self.context.sip.of(self.buffer, value, end - value)
        row.client = conn.client
        row.server = conn.server
        row.client_port = conn.client_port
        row.server_port = conn.server_port
        return row

    def _present(self, pending, name, value, session):
        """Remembers a pair for the response. Sessions come first and push the others out: they decide whether one was lost."""
        entry: cython.pointer(Pending) = cython.address(self.context.pending[pending])
        place: cython.int = entry.presented
        if session:
            if entry.sessions == PRESENTED:
                return 0
            place = entry.sessions
            entry.sessions += 1
            if entry.presented < PRESENTED:
                entry.names[entry.presented] = entry.names[place]
                entry.values[entry.presented] = entry.values[place]
        elif place == PRESENTED:
            return 0
        entry.names[place] = name
        entry.values[place] = value
        if entry.presented < PRESENTED:
            entry.presented += 1
        return 0

    def _dated(self, row, ts_ns, offset, end):
        """HAProxy's cookie with `maxidle` or `maxlife`: the server's name, `|` and one or two dates, each in units of four
        seconds as five digits of base 64. The name is the value; the dates must be of this month, or it is something else."""
        date: int64_t = 0
        now: int64_t = ts_ns // SECOND // 4
        stop: cython.Py_ssize_t = end - 6
        at: cython.Py_ssize_t
        digit: cython.int
        if end - offset < 7 or self.buffer.u8[stop] != 0x7C:
            return False
        if stop - offset > 6 and self.buffer.u8[stop - 6] == 0x7C:
            end = stop
            stop -= 6
        for at in range(stop + 1, end):
            digit = self._digit64(self.buffer.u8[at])
            if digit < 0:
                return False
            date = date * 64 + digit
        if date > now + MINUTE or date < now - MONTH:
            return False
        row.value = self.context.sip.of(self.buffer, offset, stop - offset)
        row.flags |= CK_BALANCER
        return True

    def _digit64(self, char):
        """What a character of base 64 stands for; -1 for any other."""
        if char >= 0x41 and char <= 0x5A:
            return char - 0x41
        if char >= 0x61 and char <= 0x7A:
            return char - 0x61 + 26
        if is_digit(char):
            return char - 0x30 + 52
        return 62 if char == 0x2B else 63 if char == 0x2F else -1

    def _may_name(self, offset, end):
        """Could the value name a target although its cookie's name says nothing? A URL, an address, its digest or base64."""
        first: cython.int
        if not self.asks or end - offset < 9 or end - offset > 98:
            return False
        if self._digest_shaped(offset, end):
            return True
        if self.buffer.u8[offset] == 0x22:
            offset += 1
        first = self.buffer.u8[offset]
        if first == 0x68:
            return starts_folded(self.buffer, offset, end, b"http:", 5) or starts_folded(self.buffer, offset, end, b"https:", 6)
        if is_digit(first):
            return self._dotted(offset, end)
        return first == 0x4D or first == 0x4E or first == 0x4F or first == 0x43 or first == 0x57

    def _digest_shaped(self, offset, end):
        """Hexadecimal digits, as many as a digest has (64 bits may begin with zeros that are not written)."""
        at: cython.Py_ssize_t
        size: cython.Py_ssize_t = end - offset
        if size != 32 and size != 16 and size != 64 and size != 40 and size != 15:
            return False
        for at in range(offset, end):
            if not is_digit(self.buffer.u8[at]) and (self.buffer.u8[at] < 0x61 or self.buffer.u8[at] > 0x66):
                return False
        return True

    def _dotted(self, offset, end):
        """Digits with a dot or a colon among them and nothing else: an address with its port, in the clear or F5's numbers."""
        at: cython.Py_ssize_t
        marks: cython.int = 0
        for at in range(offset, end):
            if self.buffer.u8[at] == 0x2E or self.buffer.u8[at] == 0x3A:
                marks += 1
            elif not is_digit(self.buffer.u8[at]):
                return False
        return marks >= 2

    def _attributes(self, row, ts_ns, at, end):
        """Flags and lifetime from what follows the value. Max-Age wins over Expires (RFC 6265 section 4.1.2.2)."""
        stop: cython.Py_ssize_t
        age: int64_t
        expires: int64_t
        digit: cython.Py_ssize_t
        has_age: cython.bint = False
        while at < end:
            stop = find_byte(self.buffer, at, end, 0x3B)
            if stop < 0:
                stop = end
            while at < stop and is_blank(self.buffer.u8[at]):
                at += 1
            if starts_folded(self.buffer, at, stop, b"secure", 6):
                row.flags |= CK_SECURE
            elif starts_folded(self.buffer, at, stop, b"httponly", 8):
                row.flags |= CK_HTTP_ONLY
            elif starts_folded(self.buffer, at, stop, b"samesite", 8):
                row.flags |= CK_SAMESITE
            elif starts_folded(self.buffer, at, stop, b"path=", 5):
                row.flags |= CK_HAS_PATH
            elif starts_folded(self.buffer, at, stop, b"max-age=", 8):
                digit = at + 8
                age = 0
                has_age = True
                if digit < stop and self.buffer.u8[digit] == 0x2D:
                    digit = stop
                while digit < stop and is_digit(self.buffer.u8[digit]) and age < LONGEST_AGE:
                    age = age * 10 + (self.buffer.u8[digit] - 0x30)
                    digit += 1
                row.lifetime_ns = min(age, LONGEST_AGE) * SECOND
            elif starts_folded(self.buffer, at, stop, b"expires=", 8) and not has_age:
                expires = http_date(self.buffer, at + 8, stop)
                if expires >= 0:
                    row.lifetime_ns = max(expires * SECOND - ts_ns, 0)
            at = stop + 1
        if row.lifetime_ns == 0:
            row.flags |= CK_DELETE
        return 0

    def _classify(self, name):
        known = self.context.recognition
        text = self.tables.strings[name]
        low = text.lower()
        kind = S_COOKIE
        if text in known.balancer_cookies or text.startswith(known.balancer_prefixes):
            kind |= S_BALANCER
            if known.decode is not None:
                kind |= S_DECODES
        elif name == 1 or low.startswith(known.foreign_prefixes) or any(part in low for part in known.never_session):
            kind |= S_NEVER
        else:
            if text in known.session_cookies or text.startswith(known.session_prefixes) or low.endswith(known.session_suffixes):
                kind |= S_SESSION
            elif any(part in low for part in known.likely_session_parts):
                kind |= S_LIKELY
        if text.startswith((b"__Secure-", b"__Host-")):
            kind |= S_SECURE_PREFIX
        self.kinds[name] |= kind
        return 0

    def _classify_agent(self, agent):
        text = self.tables.strings[agent]
        kind = S_AGENT
        if text.startswith(b"Mozilla/5.0") and any(mark in text for mark in (b"Chrome/", b"Firefox/", b"Safari/", b"Edg")):
            kind |= S_BROWSER
        self.kinds[agent] |= kind
        return 0

    def _decode(self, row, value, length):
        """Asks the catalogue which target the value names; once per value (a digest again when a target came into view), and
        not for long where no value of this name ever named one."""
        hashed: cython.bint = self._digest_shaped(value, value + length)
        if hashed:
            self._meet(row)
        key = (row.name, row.value)
        found = self.named.get(key)
        if found is None or (hashed and not found[0] and found[1] != len(self.targets)):
            text = bytes(self.buffer.u8[value : value + min(length, LONGEST_DECODED)])
            decoded = self.digests.get(text)
            if decoded is None:
                decoded = self.context.recognition.decode(self.tables.strings[row.name], text)
            if decoded is not None:
                packed, port, decoder = decoded
                number = self.tables.addresses.address(
                    int.from_bytes(packed[:8], "little"), int.from_bytes(packed[8:16], "little")
                )
                self.strangers[row.name] = -MOST_NAMED
                decoded = (number, port, decoder)
            else:
                decoded = (0, len(self.targets), 0)
                if found is None:
                    self.strangers[row.name] = self.strangers.get(row.name, 0) + 1
                    if self.strangers[row.name] >= PATIENCE:
                        self.kinds[row.name] |= S_MUTE
            found = decoded
            if len(self.named) >= MOST_NAMED:
                self.named.clear()
            self.named[key] = found
        if found[0]:
            row.flags |= CK_DISCLOSES | CK_BALANCER
            row.names, row.names_port, row.decoder = found
        return 0

    def _meet(self, row):
        """Keeps the digests of the server of this connection: what a balancer that hashes addresses would write."""
        target = (row.server, row.server_port)
        if target not in self.targets and len(self.targets) < MOST_TARGETS and self.context.recognition.digests is not None:
            self.targets.add(target)
            packed = self.tables.addresses[row.server]
            for text, decoder in self.context.recognition.digests(packed, row.server_port).items():
                self.digests.setdefault(text, (packed, row.server_port, decoder))
        return 0
