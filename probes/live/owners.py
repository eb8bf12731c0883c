"""Which process of this host accepts a connection, as rows beside those of the decoder."""

import sys

import cython
import numpy as np
from cython.cimports.lbtop.probes.wire.tables import Tables
from cython.cimports.libc.stdint import uint64_t
from lbtop.probes.live.listeners import ANY

PROTO_TCP = cython.declare(cython.int, 6)
SERVER = cython.declare(cython.int, 2)
MOST = 4096
EACH = 64


class Owners:
    """Knows who listens. For the first 64 connections of a listener, and then ever more rarely, a PROCESS row is written."""

    def __init__(self, decoder):
        self.decoder = decoder
        self.ports = np.zeros(65536, np.uint8)
        self.known = {}
        self.told = {}

    def learn(self, namespaces):
        """Takes the listeners of namespaces (listeners.Namespace). They also tell who is the server where a start was missed."""
        for space in namespaces:
            for listener in space.listeners:
                for address in space.addresses if listener.address == ANY else (listener.address,):
                    if len(self.known) >= MOST:
                        return
                    fact = (listener.pid, listener.process.encode()[:EACH], listener.container.encode()[:EACH])
                    self.known.setdefault((address, listener.port), fact)
                    self.ports[listener.port] = 1
                    high: uint64_t = int.from_bytes(address[:8], sys.byteorder)
                    low: uint64_t = int.from_bytes(address[8:], sys.byteorder)
                    self.decoder.connections.listeners.add(PROTO_TCP, high, low, listener.port)

    def tell(self):
        """Writes rows about the connections that were opened since the last call. To be called before every flush."""
        with cython.nogil:
            self._look()

    def _look(self):
        row: cython.Py_ssize_t
        for row in range(self.decoder.tables.used[0]):
            if self.decoder.tables.opened[row].seq >= self.after and self.ports[self.decoder.tables.opened[row].server_port]:
                with cython.gil:
                    self._tell(row)
        self.after = self.decoder.tables.seq
        return 0

    def _tell(self, row):
        tables: Tables = self.decoder.tables
        at: cython.Py_ssize_t
        number = tables.opened[row].server
        port = tables.opened[row].server_port
        end = (number, port)
        count = self.told.get(end, 0)
        if count == 0 and tables.opened[row].proto == PROTO_TCP:
            fact = self.known.get((tables.addresses[number], port))
            if fact is None or not fact[0] or len(self.told) >= MOST:
                return 0
        elif count == 0:
            return 0
        else:
            fact = self.known[(tables.addresses[number], port)]
        count += 1
        self.told[end] = count
        if count > EACH and count & (count - 1):
            return 0
        pid, process, container = fact
        at = tables.add_process()
        tables.processes[at].at_ns = tables.opened[row].at_ns
        tables.processes[at].conn = tables.opened[row].conn
        tables.processes[at].client = tables.opened[row].client
        tables.processes[at].server = number
        tables.processes[at].client_port = tables.opened[row].client_port
        tables.processes[at].server_port = port
        tables.processes[at].pid = pid
        tables.processes[at].process = tables.strings.text(process)
        tables.processes[at].container = tables.strings.text(container)
        tables.processes[at].end = SERVER
        return 0
