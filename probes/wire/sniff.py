"""What the first bytes of a connection's direction are, from the bytes alone: a port number proves nothing behind a balancer."""

import cython
from cython.cimports.lbtop.probes.wire.buffer import be16, be24, be32
from cython.cimports.lbtop.probes.wire.scan import find_byte, is_digit, starts_folded

LARGEST_RECORD = cython.declare(cython.int, 16384 + 2048)


def sniff(buffer, offset, end):
    """N_* for the bytes of a stream in [offset, end); N_MORE where a longer beginning could decide otherwise."""
    n: cython.Py_ssize_t = end - offset
    first: cython.int
    answer: cython.int
    if n <= 0:
        return N_MORE
    first = buffer.u8[offset]
    if first >= 20 and first <= 24:
        return _tls(buffer, offset, n)
    if first == 0x0D:
        if _prefix(buffer, offset, end, b"\r\n\r\n\x00\r\nQUIT\n", 12):
            return N_PROXY2 if n >= 12 else N_MORE
    if (first < 0x20 and first != 0x0D and first != 0x0A) or first >= 0x80:
        return _binary(buffer, offset, end)
    if first == 0x50:
        if _prefix(buffer, offset, end, b"PROXY ", 6):
            return N_PROXY1 if n >= 6 else N_MORE
        if _prefix(buffer, offset, end, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24):
            return N_PREFACE if n >= 24 else N_MORE
    if first == 0x48 and _prefix(buffer, offset, end, b"HTTP/1.", 7):
        return N_RESPONSE if n >= 8 else N_MORE
    answer = _request(buffer, offset, end)
    if answer != N_BINARY:
        return answer
    return _text(buffer, offset, end)


def starts_head(buffer, offset, end, request, whole):
    """Do the bytes begin with an HTTP/1 request line (or a status line), of which ``whole`` asks for all up to its end?"""
    feed: cython.Py_ssize_t
    if not request:
        return end - offset >= 12 and _prefix(buffer, offset, end, b"HTTP/1.", 7) and is_digit(buffer.u8[offset + 9])
    if _request(buffer, offset, end) != N_REQUEST:
        return False
    if not whole:
        return True
    feed = find_byte(buffer, offset, end, 0x0A)
    if feed > offset and buffer.u8[feed - 1] == 0x0D:
        feed -= 1
    return feed - offset > 12 and starts_folded(buffer, feed - 9, feed, b" http/1.", 8)


def sniff_datagram(buffer, offset, end):
    """N_* for one datagram."""
    n: cython.Py_ssize_t = end - offset
    first: cython.int
    length: cython.int
    at: cython.Py_ssize_t
    if n < 1:
        return N_BINARY
    first = buffer.u8[offset]
    if first >= 20 and first <= 25 and n >= 13 and buffer.u8[offset + 1] == 0xFE and buffer.u8[offset + 2] >= 0xFC:
        return N_DTLS
    if first & 0xC0 == 0xC0 and n >= 21 and buffer.u8[offset + 5] <= 20:
        if be24(buffer, offset + 1) == 0 and buffer.u8[offset + 4] == 1:
            return N_QUIC
        if be32(buffer, offset + 1) == 0x6B3343CF or be24(buffer, offset + 1) == 0xFF0000:
            return N_QUIC
        # A version that only asks for negotiation (RFC 9000 section 15), in a datagram as long as a client's first one has to be.
        if be32(buffer, offset + 1) & 0x0F0F0F0F == 0x0A0A0A0A and n >= 1200:
            return N_QUIC
    if first & 0x80 and n >= 11 and be32(buffer, offset + 1) == 0 and _negotiates(buffer, offset, n):
        return N_NEGOTIATION
    if n >= 17 and be16(buffer, offset + 4) == 1 and be16(buffer, offset + 6) < 64 and (buffer.u8[offset + 2] & 0x78) == 0:
        # DNS: one question whose labels end inside the datagram, class IN, CH or ANY.
        at = offset + 12
        length = buffer.u8[at]
        while at + length + 1 < end and length > 0 and length < 64:
            at += length + 1
            length = buffer.u8[at]
        if length == 0 and at + 5 <= end and (be16(buffer, at + 3) & 0x7FFF) in (1, 3, 255):
            return N_DNS
    if first == 0x3C and n > 4 and is_digit(buffer.u8[offset + 1]):
        at = find_byte(buffer, offset + 2, min(end, offset + 5), 0x3E)
        if at > 0:
            return N_SYSLOG
    return N_TEXT if n >= LEAST_TEXT and _readable(buffer, offset, end) else N_BINARY


def _negotiates(buffer, offset, n):
    """Is what follows version 0 two connection ids and versions (RFC 9000 section 17.2.1), a known one among them?"""
    at: cython.Py_ssize_t = 5
    length: cython.int
    version: cython.uint
    _: cython.int
    for _ in range(2):
        if at >= n:
            return False
        length = buffer.u8[offset + at]
        if length > 20:
            return False
        at += 1 + length
    if (n - at) & 3:
        return False
    while at < n:
        version = be32(buffer, offset + at)
        if version == 1 or version == 0x6B3343CF or version >> 8 == 0xFF0000:
            return True
        at += 4
    return False


def sender(what):
    """Who says such a thing: SENDER_CLIENT, SENDER_SERVER, or SENDER_UNKNOWN where either may."""
    if (
        what == N_PROXY1 or what == N_PROXY2 or what == N_REQUEST or what == N_PREFACE or what == N_CLIENT_HELLO
        or what == N_SSLV2_HELLO or what == N_POSTGRES or what == N_POSTGRES_SSL or what == N_SMTP_CLIENT
        or what == N_MAIL_CLIENT or what == N_REDIS or what == N_MQTT or what == N_NATS_CLIENT or what == N_SOCKS4
        or what == N_SOCKS5
    ):  # fmt: skip
        return SENDER_CLIENT
    if (
        what == N_RESPONSE or what == N_SERVER_HELLO or what == N_MYSQL or what == N_SMTP or what == N_MAIL or what == N_NATS
        or what == N_REDIS_SERVER
    ):  # fmt: skip
        return SENDER_SERVER
    return SENDER_UNKNOWN


def _prefix(buffer, offset, end, word, length):
    """Are the bytes there are (at most ``length``) the beginning of ``word``?"""
    i: cython.int
    for i in range(cython.cast(cython.int, min(end - offset, length))):
        if buffer.u8[offset + i] != cython.cast(cython.uchar, word[i]):
            return False
    return True


def _tls(buffer, offset, n):
    length: cython.int
    if (n >= 2 and buffer.u8[offset + 1] != 3) or (n >= 3 and buffer.u8[offset + 2] > 4):
        return _binary(buffer, offset, offset + n)
    if n < 6:
        return N_MORE
    length = be16(buffer, offset + 3)
    if length == 0 or length > LARGEST_RECORD:
        return N_BINARY
    if buffer.u8[offset] == 22:
        if buffer.u8[offset + 5] == 1:
            return N_CLIENT_HELLO
        if buffer.u8[offset + 5] == 2:
            return N_SERVER_HELLO
    return N_TLS


def _binary(buffer, offset, end):
    n: cython.Py_ssize_t = end - offset
    first: cython.int = buffer.u8[offset]
    length: cython.int
    at: cython.Py_ssize_t
    if first & 0x80:
        # RFC 5246 appendix E.2: two bytes of length, client hello, version, then three lengths that add up.
        if n < 11:
            return N_MORE if n < 3 or buffer.u8[offset + 2] == 1 else N_BINARY
        length = ((first & 0x7F) << 8) | buffer.u8[offset + 1]
        if (
            buffer.u8[offset + 2] == 1
            and (buffer.u8[offset + 3] == 3 or be16(buffer, offset + 3) == 2)
            and be16(buffer, offset + 5) % 3 == 0
            and 9 + be16(buffer, offset + 5) + be16(buffer, offset + 7) + be16(buffer, offset + 9) == length
        ):
            return N_SSLV2_HELLO
        return N_BINARY
    if first == 0x10:
        # MQTT CONNECT: remaining length in one to four bytes, then the protocol's name.
        at = offset + 1
        while at < end and at < offset + 4 and buffer.u8[at] & 0x80:
            at += 1
        at += 1
        if end - at < 6:
            return N_MORE if n < 12 else N_BINARY
        return N_MQTT if buffer.u8[at] == 0 and starts_folded(buffer, at + 2, end, b"mq", 2) else N_BINARY
    if first == 5:
        if n < 2:
            return N_MORE
        if buffer.u8[offset + 1] > MOST_SOCKS_METHODS:
            return N_BINARY
        if n < 2 + buffer.u8[offset + 1]:
            return N_MORE
        at = 2 + buffer.u8[offset + 1]
        # Only a request or a name and password may follow before the server has answered.
        return N_SOCKS5 if at > 2 and (n == at or buffer.u8[offset + at] == 5 or buffer.u8[offset + at] == 1) else N_BINARY
    if first == 4:
        if n > 1 and buffer.u8[offset + 1] != 1:
            return N_BINARY
        if n > 8 and find_byte(buffer, offset + 8, min(end, offset + 8 + LONGEST_SOCKS_USER), 0) >= 0:
            return N_SOCKS4
        return N_MORE if n < 8 + LONGEST_SOCKS_USER else N_BINARY
    if first == 0:
        if n < 8:
            return N_MORE
        if be24(buffer, offset + 1) == 8 and (be32(buffer, offset + 4) == 80877103 or be32(buffer, offset + 4) == 80877104):
            return N_POSTGRES_SSL
        if be32(buffer, offset + 4) == 196608 and be32(buffer, offset) < 10000:
            return N_POSTGRES
        if be24(buffer, offset) < 65536 and be24(buffer, offset) > 0 and buffer.u8[offset + 3] == 4 and n >= 9:
            return N_SETTINGS if be32(buffer, offset + 5) == 0 and buffer.u8[offset + 4] == 0 else N_BINARY
        return N_BINARY
    return _mysql(buffer, offset, end)


def _mysql(buffer, offset, end):
    """The server's greeting: length, sequence number 0, protocol 10, a printable version that ends in a zero byte."""
    at: cython.Py_ssize_t
    n: cython.Py_ssize_t = end - offset
    if n < 16:
        if (n > 2 and buffer.u8[offset + 2] != 0) or (n > 3 and buffer.u8[offset + 3] != 0):
            return N_BINARY
        return N_MORE if n < 5 or buffer.u8[offset + 4] == 10 else N_BINARY
    if buffer.u8[offset + 2] != 0 or buffer.u8[offset + 3] != 0 or buffer.u8[offset + 4] != 10:
        return N_BINARY
    at = find_byte(buffer, offset + 5, min(end, offset + 80), 0)
    if at < 0 and n < 80 and is_digit(buffer.u8[offset + 5]):
        return N_MORE  # the version goes on
    return N_MYSQL if at > offset + 5 and is_digit(buffer.u8[offset + 5]) else N_BINARY


def _request(buffer, offset, end):
    """N_REQUEST for a method, a blank and a target; N_MORE while it can become one; N_BINARY for no."""
    at: cython.Py_ssize_t = offset
    space: cython.Py_ssize_t
    feed: cython.Py_ssize_t
    after: cython.int
    while at < end and at < offset + 4 and (buffer.u8[at] == 0x0D or buffer.u8[at] == 0x0A):
        at += 1
    offset = at
    while (
        at < end
        and at < offset + 20
        and ((buffer.u8[at] >= 0x41 and buffer.u8[at] <= 0x5A) or buffer.u8[at] == 0x2D or buffer.u8[at] == 0x5F)
    ):
        at += 1
    if at == end:
        return N_MORE if at < offset + 20 else N_BINARY
    if buffer.u8[at] != 0x20 or at - offset < 3:
        return N_BINARY
    space = at
    if space + 1 == end:
        return N_MORE
    after = buffer.u8[space + 1]
    if after == 0x2F or after == 0x2A or after == 0x68:
        if _known_method(buffer, offset, space):
            return N_REQUEST
    # Other methods, and CONNECT's host and port: the whole line decides.
    feed = find_byte(buffer, space, min(end, offset + LONGEST_LOOK), 0x0A)
    if feed < 0:
        return N_MORE if end - offset < LONGEST_LOOK else N_BINARY
    if feed > space and buffer.u8[feed - 1] == 0x0D:
        feed -= 1
    if feed - space > 10 and starts_folded(buffer, feed - 9, feed, b" http/1.", 8):
        return N_REQUEST
    return N_BINARY


def _known_method(buffer, offset, end):
    length: cython.Py_ssize_t = end - offset
    if length == 3:
        return starts_folded(buffer, offset, end, b"get", 3) or starts_folded(buffer, offset, end, b"put", 3)
    if length == 4:
        return starts_folded(buffer, offset, end, b"post", 4) or starts_folded(buffer, offset, end, b"head", 4)
    if length == 5:
        return starts_folded(buffer, offset, end, b"patch", 5) or starts_folded(buffer, offset, end, b"trace", 5)
    if length == 6:
        return starts_folded(buffer, offset, end, b"delete", 6)
    if length == 7:
        return starts_folded(buffer, offset, end, b"options", 7)
    return False


def _text(buffer, offset, end):
    """Line protocols, told by their first line."""
    n: cython.Py_ssize_t = end - offset
    feed: cython.Py_ssize_t = find_byte(buffer, offset, min(end, offset + LONGEST_LOOK), 0x0A)
    first: cython.int = buffer.u8[offset]
    at: cython.Py_ssize_t
    if first == 0x53 and _prefix(buffer, offset, end, b"SSH-", 4):
        return N_SSH if n >= 4 else N_MORE
    # Only the first line: how much of the next one came with it must not matter.
    if not _readable(buffer, offset, feed if feed >= 0 else end):
        # A MySQL greeting's length can be a printable byte, and so can the first byte of anything.
        return _mysql(buffer, offset, end)
    if feed < 0:
        if first == 0x3C and n > 3 and _priority(buffer, offset, end):
            return N_SYSLOG
        return N_MORE if n < LONGEST_LOOK else N_TEXT
    if starts_folded(buffer, offset, feed, b"220", 3) and (buffer.u8[offset + 3] == 0x20 or buffer.u8[offset + 3] == 0x2D):
        at = offset
        while at + 4 <= feed:
            if starts_folded(buffer, at, feed, b"smtp", 4):
                return N_SMTP
            at += 1
        return N_MAIL
    if starts_folded(buffer, offset, feed, b"* ok", 4) or starts_folded(buffer, offset, feed, b"+ok ", 4):
        return N_MAIL if first == 0x2A or feed - offset > 5 else N_REDIS_SERVER
    if (
        starts_folded(buffer, offset, feed, b"ehlo ", 5)
        or starts_folded(buffer, offset, feed, b"helo ", 5)
        or starts_folded(buffer, offset, feed, b"lhlo ", 5)
    ):
        return N_SMTP_CLIENT
    if starts_folded(buffer, offset, feed, b"capa", 4) or starts_folded(buffer, offset, feed, b"stls", 4):
        return N_MAIL_CLIENT
    if first == 0x2A and n > 1 and is_digit(buffer.u8[offset + 1]):
        # RESP: an array of bulk strings is a command.
        if feed + 1 == end:
            return N_MORE
        return N_REDIS if buffer.u8[feed + 1] == 0x24 else N_REDIS_SERVER
    if (starts_folded(buffer, offset, feed, b"ping", 4) and feed - offset <= 5) or starts_folded(
        buffer, offset, feed, b"auth ", 5
    ):
        return N_REDIS
    if starts_folded(buffer, offset, feed, b"+ok", 3) or starts_folded(buffer, offset, feed, b"+pong", 5):
        return N_REDIS_SERVER
    if starts_folded(buffer, offset, feed, b"-err", 4) or starts_folded(buffer, offset, feed, b"-noauth", 7):
        return N_REDIS_SERVER
    if starts_folded(buffer, offset, feed, b"info {", 6):
        return N_NATS
    if starts_folded(buffer, offset, feed, b"connect {", 9):
        return N_NATS_CLIENT
    if first == 0x3C and _priority(buffer, offset, end):
        return N_SYSLOG
    return N_TEXT


def _priority(buffer, offset, end):
    """``<34>`` as syslog begins (RFC 5424 section 6.2.1)."""
    at: cython.Py_ssize_t = offset + 1
    while at < end and at < offset + 4 and is_digit(buffer.u8[at]):
        at += 1
    return at > offset + 1 and at < end and buffer.u8[at] == 0x3E


def _readable(buffer, offset, end):
    """Text: UTF-8 without control codes in its first 64 bytes. What is looked at may end within a character."""
    at: cython.Py_ssize_t
    byte: cython.int
    more: cython.int = 0
    for at in range(offset, min(end, offset + 64)):
        byte = buffer.u8[at]
        if more:
            if byte & 0xC0 != 0x80:
                return False
            more -= 1
        elif byte >= 0x80:
            if byte < 0xC2 or byte > 0xF4:
                return False
            more = 1 if byte < 0xE0 else 2 if byte < 0xF0 else 3
        elif (byte < 0x20 and byte != 0x0A and byte != 0x0D and byte != 0x09) or byte == 0x7F:
            return False
    return True
