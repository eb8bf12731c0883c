"""What the first bytes of a direction are, and whether they prove who is the client."""

import cython
from cython.cimports.lbtop.probes.wire.buffer import be16
from cython.cimports.lbtop.probes.wire.http2 import PREFACE_SIZE, looks_like_frames
from cython.cimports.lbtop.probes.wire.scan import find_byte
from cython.cimports.libc.stdint import uint32_t


class Detection:
    """Puts a direction into the mode in which its bytes are to be read. A port number proves nothing behind a balancer."""

    def proof(self, offset, n):
        return sender(sniff(self.buffer, offset, offset + n))

    def proof_of_datagram(self, offset, n):
        what: cython.int = sniff_datagram(self.buffer, offset, offset + n)
        if what == N_DNS:
            return SENDER_SERVER if self.buffer.u8[offset + 2] & 0x80 else SENDER_CLIENT
        if what == N_DTLS:
            if self.buffer.u8[offset] != 22 or n < 14:
                return SENDER_UNKNOWN
            return (
                SENDER_CLIENT
                if self.buffer.u8[offset + 13] == 1
                else SENDER_SERVER
                if self.buffer.u8[offset + 13] == 2
                else SENDER_UNKNOWN
            )
        if what == N_NEGOTIATION:
            return SENDER_SERVER
        if what == N_QUIC:
            with cython.gil:
                return SENDER_CLIENT if self.quic.from_client(offset, offset + n) else SENDER_UNKNOWN
        return SENDER_CLIENT if starts_head(self.buffer, offset, offset + n, True, True) else SENDER_UNKNOWN

    def _swap(self, conn):
        """The bytes at hand come from the other end than was thought."""
        half: Half = conn.half[0]
        client: uint32_t = conn.client
        port: cython.ushort = conn.client_port
        conn.half[0] = conn.half[1]
        conn.half[1] = half
        conn.client = conn.server
        conn.server = client
        conn.client_port = conn.server_port
        conn.server_port = port
        self.direction ^= 1
        self.answer ^= SWAP
        return 0

    def _detect(self, conn, ts_ns, offset, end):
        """The first bytes of a direction, or the first ones inside a tunnel."""
        what: cython.int = sniff(self.buffer, offset, end)
        who: cython.int = sender(what)
        half: cython.pointer(Half)
        used: cython.Py_ssize_t
        if what == N_MORE:
            return 0
        if who:
            if who - 1 == self.direction:
                conn.proven = 1
                self.answer |= PROVEN
            elif conn.proven:
                # It looks like something that only the other end says: then it is something else.
                if what == N_SERVER_HELLO:
                    what = N_TLS
                else:
                    what = N_TEXT if 0x20 <= self.buffer.u8[offset] < 0x7F else N_BINARY
            else:
                self._swap(conn)
                conn.proven = 1
                self.answer |= PROVEN
        half = cython.address(conn.half[self.direction])

        if what == N_PROXY1 or what == N_PROXY2:
            if conn.proxies >= 2:
                used = -2
            elif what == N_PROXY1:
                used = self.proxies.v1(conn, ts_ns, offset, end)
            else:
                used = self.proxies.v2(conn, ts_ns, offset, end)
            if used >= 0:
                return used
            what = N_TEXT
        if what == N_REQUEST or what == N_RESPONSE:
            self._both(conn, P7_HTTP1, M_HEAD)
            return AGAIN
        if what == N_CLIENT_HELLO or what == N_SERVER_HELLO:
            if conn.starttls or conn.tunnel:
                conn.flags |= CN_UPGRADED
            if conn.starttls:
                conn.flags |= CN_STARTTLS
            self._both(conn, P7_TLS, M_TLS)
            half.seen = 0
            if self.keyed and not conn.keyed:
                with cython.gil:
                    if self.begin_session is not None:
                        self._follow(conn, offset, end)
            return AGAIN
        if what == N_SSLV2_HELLO:
            used = 2 + (be16(self.buffer, offset) & 0x7FFF)
            if end - offset < used:
                return 0
            self._both(conn, P7_TLS, M_TLS)
            self.hellos.sslv2(conn, ts_ns, offset, offset + used)
            return used
        if what == N_TLS:
            self._both(conn, P7_TLS, M_OPAQUE)
            return AGAIN
        if what == N_PREFACE:
            self._both(conn, P7_HTTP2, M_HTTP2)
            self.http2.begin(conn, False)
            return PREFACE_SIZE
        if what == N_SETTINGS and not conn.joined:
            # A server need not wait for the client's preface.
            conn.protocol7 = P7_HTTP2
            half.mode = M_HTTP2
            self.http2.begin(conn, False)
            return AGAIN
        if conn.joined and conn.protocol7 == P7_UNKNOWN and looks_like_frames(self.buffer, offset, end):
            self._both(conn, P7_HTTP2, M_OPAQUE)
            self.http2.give_up(conn)
            return AGAIN
        if what == N_SMTP or what == N_SMTP_CLIENT:
            self._both(conn, P7_SMTP, M_LINES)
            return AGAIN
        if what == N_MAIL or what == N_MAIL_CLIENT:
            self._both(conn, P7_OTHER_CLEAR, M_LINES)
            return AGAIN
        if what == N_POSTGRES_SSL and conn.half[1].mode == M_DETECT:
            # The server answers with one byte; what follows is a hello, or the startup message in clear.
            conn.protocol7 = P7_POSTGRES
            conn.starttls = 1
            conn.half[1].mode = M_BODY
            conn.half[1].need = 1
            conn.half[1].after = M_DETECT
            return 8
        if what == N_MYSQL:
            conn.protocol7 = P7_MYSQL
            conn.half[0].mode = M_MYSQL
            half.mode = M_BODY
            half.need = self.buffer.u8[offset] + 4
            half.after = M_DETECT
            return AGAIN
        if (what == N_SOCKS5 or what == N_SOCKS4) and conn.tunnel:
            # A tunnel inside a tunnel is not entered: where its greeting ends, only a segment's end could tell.
            what = N_BINARY
        if what == N_SOCKS5:
            conn.tunnel = 1
            conn.half[0].mode = M_SOCKS
            conn.half[1].mode = M_SOCKS
            return 2 + self.buffer.u8[offset + 1]
        if what == N_SOCKS4:
            used = find_byte(self.buffer, offset + 8, end, 0) + 1 - offset
            if self.buffer.u32[offset + 4] & 0xFFFFFF == 0:
                # 4a: a name follows.
                used = find_byte(self.buffer, offset + used, end, 0) + 1 - offset
            if used <= 0:
                return 0
            conn.tunnel = 1
            conn.half[1].mode = M_BODY
            conn.half[1].need = 8
            conn.half[1].after = M_DETECT
            return used
        if conn.protocol7 == P7_UNKNOWN:
            if what == N_SSH:
                conn.protocol7 = P7_SSH
            elif what == N_POSTGRES or what == N_POSTGRES_SSL:
                conn.protocol7 = P7_POSTGRES
            elif what == N_REDIS or what == N_REDIS_SERVER:
                conn.protocol7 = P7_REDIS
            elif what == N_MQTT:
                conn.protocol7 = P7_MQTT
            elif what == N_NATS or what == N_NATS_CLIENT:
                conn.protocol7 = P7_NATS
            elif what == N_SYSLOG:
                conn.protocol7 = P7_SYSLOG
            elif what == N_TEXT:
                conn.protocol7 = P7_OTHER_CLEAR
        half.mode = M_OPAQUE
        if (conn.joined or half.lost) and (what == N_TEXT or what == N_BINARY) and not conn.starttls:
            half.mode = M_SEARCH
        if conn.protocol7 != P7_UNKNOWN and what != N_TEXT and what != N_BINARY:
            conn.half[self.direction ^ 1].mode = M_OPAQUE
        return end - offset

    def _both(self, conn, protocol, mode):
        """The connection speaks ``protocol``: its sender's direction, and the other one unless it has gone further."""
        other: cython.pointer(Half) = cython.address(conn.half[self.direction ^ 1])
        conn.protocol7 = protocol
        conn.half[self.direction].mode = mode
        conn.half[self.direction].seen = 0
        if other.mode == M_SEARCH:
            other.mode = M_RESYNC if mode == M_HEAD else mode
        elif other.mode == M_DETECT or other.mode == M_LINES or mode == M_OPAQUE or (other.mode == M_OPAQUE and mode == M_TLS):
            other.mode = mode
            other.seen = 0
        return 0

    def _anything_known(self, offset, end):
        """Does a segment in the middle of something begin with a head or a hello?"""
        what: cython.int
        if starts_head(self.buffer, offset, end, True, True) or starts_head(self.buffer, offset, end, False, True):
            return True
        what = sniff(self.buffer, offset, end)
        return what == N_CLIENT_HELLO or what == N_SERVER_HELLO or what == N_TLS

    def _datagram_of(self, conn, offset, end):
        """What a flow is, and where the bytes prove it, who began it."""
        what: cython.int = sniff_datagram(self.buffer, offset, end)
        who: cython.int
        if what == N_DNS:
            conn.protocol7 = P7_DNS
        elif what == N_QUIC or what == N_NEGOTIATION:
            conn.protocol7 = P7_QUIC
        elif what == N_DTLS:
            conn.protocol7 = P7_DTLS
        elif what == N_SYSLOG:
            conn.protocol7 = P7_SYSLOG
        elif what == N_TEXT and conn.half[0].mode == M_DETECT:
            conn.protocol7 = P7_OTHER_CLEAR
        # From now on only what has a form of its own is looked for: among many datagrams some are text by chance.
        conn.half[0].mode = M_SEARCH
        conn.half[1].mode = M_SEARCH
        if not conn.proven:
            who = self.proof_of_datagram(offset, end - offset)
            if who:
                if who - 1 != self.direction:
                    self._swap(conn)
                conn.proven = 1
                self.answer |= PROVEN
        return 0
