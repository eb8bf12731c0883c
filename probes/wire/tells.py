"""What a request's headers tell about the hops before it. Facts only: they are weighed in the inference."""

import cython
import numpy as np
from cython.cimports.lbtop.probes.wire.scan import all_hex, find_byte, holds_folded, is_blank, is_digit, starts_folded
from cython.cimports.libc.stdint import uint32_t


class Tells:
    """Fills a REQUEST row from the head's lines."""

    def __init__(self, context: Context, head, cookies, addresses):
        self.buffer = context.buffer
        self.head = head
        self.cookies = cookies
        self.addresses = addresses
        self.tls_values = list(context.recognition.tls_headers.values())
        self.any_value = np.array([not value for value in self.tls_values] or [False], np.uint8)

    def fill(self, row):
        """Flags, forwarding columns, User-Agent and Via."""
        i: cython.int
        places: uint32_t[4]
        for i in range(4):
            places[i] = 0
        self._tells(row, self.head.find(H_HOST))
        row.forwarded_count = self._forwarded(H_X_FORWARDED_FOR, places)
        if row.forwarded_count == 0:
            row.forwarded_count = self._forwarded(H_FORWARDED, places)
        row.forwarded0 = places[0]
        row.forwarded1 = places[1]
        row.forwarded2 = places[2]
        row.forwarded3 = places[3]
        return 0

    def _tells(self, row, host):
        """Everything a header's presence or value says about what stands in front."""
        i: cython.int
        code: cython.int
        port: cython.int
        first: cython.int
        at: cython.Py_ssize_t
        end: cython.Py_ssize_t
        line: cython.pointer(Line)
        capital: cython.bint
        canonical: cython.bint = False
        small: cython.bint = False
        mixed: cython.bint = False
        for i in range(self.head.count):
            line = cython.address(self.head.lines[i])
            code = line.code
            first = self.buffer.u8[line.name]
            capital = first >= 0x41 and first <= 0x5A
            if code >= H_X_FORWARDED_FOR and code <= H_X_FORWARDED_OTHER and code != H_FORWARDED:
                canonical = canonical or capital
                mixed = mixed or not capital
            elif (
                code == H_OTHER
                or (code >= H_AUTHORIZATION and code < H_TRACE_ID)
                or code < H_CONTENT_LENGTH
                or code == H_CONTENT_TYPE
            ):
                # What ends travel with; a hop's own headers (Host, Connection, X-Real-IP …) may be in any case.
                if code != H_HOST and not (first | 0x20 == 0x78 and self.buffer.u8[line.name + 1] == 0x2D):
                    small = small or not capital
                    mixed = mixed or capital
            if code == H_OTHER:
                continue
            at = line.value
            end = line.value_end
            if code == H_USER_AGENT:
                row.user_agent = self.head.shown(at, end)
                if row.user_agent and self.cookies.browser(row.user_agent):
                    row.flags |= RQ_BROWSER_UA
            elif code == H_X_FORWARDED_PROTO:
                # The last hop's word is the rightmost one where a list has grown.
                while find_byte(self.buffer, at, end, 0x2C) >= 0:
                    at = find_byte(self.buffer, at, end, 0x2C) + 1
                while at < end and is_blank(self.buffer.u8[at]):
                    at += 1
                if end - at == 5 and starts_folded(self.buffer, at, end, b"https", 5):
                    row.forwarded_proto = 2
                elif end - at == 4 and starts_folded(self.buffer, at, end, b"http", 4):
                    row.forwarded_proto = 1
                elif end > at:
                    row.forwarded_proto = 3
            elif code == H_X_FORWARDED_PORT:
                port = 0
                while find_byte(self.buffer, at, end, 0x2C) >= 0:
                    at = find_byte(self.buffer, at, end, 0x2C) + 1
                while at < end and is_blank(self.buffer.u8[at]):
                    at += 1
                while at < end and is_digit(self.buffer.u8[at]) and port < 65536:
                    port = port * 10 + (self.buffer.u8[at] - 0x30)
                    at += 1
                row.forwarded_port = port if port < 65536 else 0
            elif code == H_REAL_IP:
                if row.real_ip == 0:
                    row.real_ip = self.addresses.number(at, end)
            elif code == H_VIA:
                row.flags |= RQ_VIA
                row.via = self.head.shown(at, end)
            elif code == H_AUTHORIZATION:
                row.flags |= RQ_AUTHORIZATION
            elif code == H_SEC_FETCH_SITE:
                row.flags |= RQ_SEC_FETCH
            elif code == H_SEC_CH_UA:
                row.flags |= RQ_SEC_CH_UA
            elif code == H_ACCEPT_ENCODING:
                if self._offers(at, end, b"br", 2) or self._offers(at, end, b"zstd", 4):
                    row.flags |= RQ_BR_ZSTD
            elif code == H_ORIGIN or code == H_REFERER:
                row.flags |= self._own_origin(line, host)
            elif code == H_TRACE_ID:
                if self._trace_id(at, end):
                    row.flags |= RQ_TRACE_ID
            elif code == H_UPGRADE_INSECURE:
                if end - at == 1 and self.buffer.u8[at] == 0x31:
                    row.flags |= RQ_UPGRADE_INSECURE
            elif code == H_UPGRADE:
                if holds_folded(self.buffer, at, end, b"websocket", 9):
                    row.flags |= RQ_WEBSOCKET
                elif holds_folded(self.buffer, at, end, b"h2c", 3):
                    row.flags |= RQ_H2C_UPGRADE
            elif code == H_CONTENT_TYPE:
                if starts_folded(self.buffer, at, end, b"application/grpc", 16):
                    row.flags |= RQ_GRPC
            elif code == H_REQUEST_ID:
                row.flags |= RQ_XREQUEST_ID
            elif code >= H_TLS:
                if self._tls_value(code - H_TLS, at, end):
                    row.flags |= RQ_TLS_HEADER
        if canonical and small and not mixed:
            row.flags |= RQ_MIXED_CASE_FORWARDED
        return 0

    def _forwarded(self, code, places):
        """The rightmost four addresses of a forwarding header, rightmost first. Answers with how many places it has."""
        i: cython.int
        turn: cython.int
        total: cython.int = 0
        place: cython.int
        at: cython.Py_ssize_t
        end: cython.Py_ssize_t
        stop: cython.Py_ssize_t
        value: cython.Py_ssize_t
        if not self.head.has(code):
            return 0
        for turn in range(2):
            place = 0
            for i in range(self.head.count):
                if self.head.lines[i].code != code:
                    continue
                at = self.head.lines[i].value
                end = self.head.lines[i].value_end
                while at < end:
                    stop = find_byte(self.buffer, at, end, 0x2C)
                    if stop < 0:
                        stop = end
                    while at < stop and is_blank(self.buffer.u8[at]):
                        at += 1
                    value = at
                    if code == H_FORWARDED:
                        while value < stop and not starts_folded(self.buffer, value, stop, b"for=", 4):
                            value += 1
                        value += 4
                    if value < stop:
                        if turn == 0:
                            total += 1
                        elif place >= total - 4:
                            if code == H_FORWARDED:
                                at = find_byte(self.buffer, value, stop, 0x3B)
                                places[total - 1 - place] = self.addresses.number(value, stop if at < 0 else at)
                            else:
                                places[total - 1 - place] = self.addresses.number(value, stop)
                        place += 1
                    at = stop + 1
            if total == 0:
                return 0
        return min(total, 65535)

    def _offers(self, at, end, coding, length):
        """Is the content coding among those of an Accept-Encoding value?"""
        while at + length <= end:
            while at < end and (is_blank(self.buffer.u8[at]) or self.buffer.u8[at] == 0x2C):
                at += 1
            if starts_folded(self.buffer, at, end, coding, length) and (
                at + length == end
                or self.buffer.u8[at + length] == 0x2C
                or self.buffer.u8[at + length] == 0x3B
                or is_blank(self.buffer.u8[at + length])
            ):
                return True
            at = find_byte(self.buffer, at, end, 0x2C)
            if at < 0:
                return False
        return False

    def _own_origin(self, line, host):
        """RQ_HTTPS_ORIGIN or RQ_HTTP_ORIGIN where the URL's host is the request's own (ports do not matter)."""
        flag: cython.int = RQ_HTTPS_ORIGIN
        at: cython.Py_ssize_t = line.value
        end: cython.Py_ssize_t = line.value_end
        own: cython.Py_ssize_t
        own_end: cython.Py_ssize_t
        if host < 0:
            return 0
        if starts_folded(self.buffer, at, end, b"https://", 8):
            at += 8
        elif starts_folded(self.buffer, at, end, b"http://", 7):
            at += 7
            flag = RQ_HTTP_ORIGIN
        else:
            return 0
        own = self.head.lines[host].value
        own_end = self.head.lines[host].value_end
        while own < own_end and at < end and self.buffer.u8[own] | 0x20 == self.buffer.u8[at] | 0x20:
            if self.buffer.u8[own] == 0x3A:
                return flag
            own += 1
            at += 1
        if own < own_end and self.buffer.u8[own] != 0x3A:
            return 0
        if at < end and self.buffer.u8[at] != 0x3A and self.buffer.u8[at] != 0x2F:
            return 0
        return flag

    def _trace_id(self, at, end):
        """X-Amzn-Trace-Id with a Root or Self of the form 1-8 hex-24 hex."""
        while at + 40 <= end:
            if (
                (starts_folded(self.buffer, at, end, b"root=1-", 7) or starts_folded(self.buffer, at, end, b"self=1-", 7))
                and self.buffer.u8[at + 15] == 0x2D
                and all_hex(self.buffer, at + 7, 8)
                and all_hex(self.buffer, at + 16, 24)
            ):
                return True
            at = find_byte(self.buffer, at, end, 0x3B) + 1
            if at == 0:
                return False
            while at < end and is_blank(self.buffer.u8[at]):
                at += 1
        return False

    def _tls_value(self, number, at, end):
        """Does the value of the TLS header with this number say that TLS ended there?"""
        if self.any_value[number]:
            return True
        with cython.gil:
            return self.tls_values[number] in bytes(self.buffer.u8[at : min(end, at + LONGEST_SHOWN)]).lower()
