"""Comments of packets in pcapng: which process is at an end of a connection, where the capturing program knew.

A comment is looked at when it is not the one that this connection and end had last, so that a file with the same comment on
every packet costs little more than one without.
"""

import cython
import numpy as np
from cython.cimports.lbtop.probes.wire.buffer import be16
from cython.cimports.lbtop.probes.wire.connections import Connections
from cython.cimports.lbtop.probes.wire.scan import hashed
from cython.cimports.lbtop.probes.wire.slots import DELIVERING
from cython.cimports.lbtop.probes.wire.tables import Tables
from cython.cimports.libc.stdint import int32_t, uint32_t, uint64_t
from lbtop.probes.files.processes import process_of

M1 = cython.declare(uint64_t, 0x9E3779B97F4A7C15)
SIDES = cython.declare(cython.size_t, 4)  # nobody's, the lower address', the higher one's
MOST_KNOWN = 4096
LONGEST_KNOWN = 2048


class Comments:
    """Takes the options of packets that the decoder has just taken."""

    def __init__(self, decoder):
        self.decoder = decoder
        self.known = {}
        self.told = np.zeros(0, np.uint64)
        self.written = np.zeros(0, np.uint64)

    def take(self, linktype, begin, end, swapped, host_side):
        """Options [begin, end) of the packet that is in the decoder's frame."""
        at: cython.Py_ssize_t = begin
        code: cython.int
        size: cython.Py_ssize_t
        flags: uint32_t = 0
        owner: cython.int = 0
        said: uint64_t = 0
        slot: int32_t
        place: cython.size_t
        while end - at >= 4:
            code = be16(self.decoder.buffer, at) if swapped else self.decoder.buffer.u16[at]
            size = be16(self.decoder.buffer, at + 2) if swapped else self.decoder.buffer.u16[at + 2]
            at += 4
            if code == OPTION_END or at + size > end:
                break
            if code == OPTION_FLAGS and size == 4:
                flags = self.decoder.buffer.u8[at + 3] if swapped else self.decoder.buffer.u8[at]
            elif code == OPTION_COMMENT and size > 0:
                said = hashed(self.decoder.buffer, at, size, said + 1)
            at += (size + 3) & ~3
        if said == 0 or not self.decoder.parse(self.decoder.frame, linktype):
            return 0
        slot = self.decoder.connections.find(self.decoder.frame)
        if slot < 0 or not self.decoder.connections.all[slot].state & DELIVERING:
            return 0
        flags &= 3
        if not host_side and (flags == OUTBOUND or flags == INBOUND):
            owner = 1 + (self.decoder.connections.end ^ (1 if flags == INBOUND else 0))
        if self.told.shape[0] == 0:
            with cython.gil:
                self.told = np.zeros(SIDES * self.decoder.connections.cap, np.uint64)
                self.written = np.zeros(SIDES * self.decoder.connections.cap, np.uint64)
        place = cython.cast(cython.size_t, slot) * SIDES + owner
        said = ((said ^ self.decoder.connections.all[slot].number) * M1) | 1
        if self.told[place] == said:
            return 0
        self.told[place] = said
        with cython.gil:
            return self._write(slot, place, owner, begin, end, swapped)

    def _write(self, slot, at, owner, begin, end, swapped):
        """A row, when the comments name a process and not the one of the connection's and end's last row."""
        row: cython.Py_ssize_t
        client: cython.int
        facts: uint64_t
        comments = bytes(self.decoder.buffer.array[begin:end])
        found = self.known.get(comments, self)
        if found is self:
            found = process_of(comments, ">" if swapped else "<")
            if len(self.known) >= MOST_KNOWN:
                self.known.clear()
            if len(comments) <= LONGEST_KNOWN:
                self.known[comments] = found
        if found is None:
            return 0
        facts = hash((found, self.decoder.connections.all[slot].number)) & 0xFFFFFFFFFFFFFFFF
        if self.written[at] == facts:
            return 0
        self.written[at] = facts
        pid, process, container, pod = found
        tables: Tables = self.decoder.tables
        connections: Connections = self.decoder.connections
        client = connections.client_end(slot)
        row = tables.add_process()
        tables.processes[row].at_ns = self.decoder.frame.ts_ns
        tables.processes[row].conn = connections.all[slot].number
        tables.processes[row].client = connections.all[slot].high if client else connections.all[slot].low
        tables.processes[row].server = connections.all[slot].low if client else connections.all[slot].high
        tables.processes[row].client_port = connections.all[slot].high_port if client else connections.all[slot].low_port
        tables.processes[row].server_port = connections.all[slot].low_port if client else connections.all[slot].high_port
        tables.processes[row].pid = pid
        tables.processes[row].process = tables.strings.text(process)
        tables.processes[row].container = tables.strings.text(container)
        tables.processes[row].pod = tables.strings.text(pod)
        if owner:
            # Ends of the key are 1 and 2, so are client and server (Side).
            tables.processes[row].end = owner ^ 3 if client else owner
        return 0
