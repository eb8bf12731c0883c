"""Connections as rows: what the slots know, from the client's and the server's point of view."""

import cython
from cython.cimports.lbtop.probes.wire.assembly import ACKED, CLIENT, FIN_SEEN, RESENT, SYN_SEEN
from cython.cimports.lbtop.probes.wire.slots import DELIVERING, RESET
from cython.cimports.libc.stdint import int32_t, uint32_t

from lbtop.model.observation import ConnFlag, End

END_FIN = cython.declare(cython.int, int(End.FIN))
END_RST = cython.declare(cython.int, int(End.RST))
FLAG_GAPS = cython.declare(uint32_t, int(ConnFlag.GAPS))
FLAG_ONE_DIRECTION = cython.declare(uint32_t, int(ConnFlag.ONE_DIRECTION))
FLAG_FIN_SEEN = cython.declare(uint32_t, int(ConnFlag.FIN_SEEN))
FLAG_SILENT_END = cython.declare(uint32_t, int(ConnFlag.SILENT_END))


class ConnectionRows:
    """Slots, and the tables in which their OPENED and CONNECTION rows are written."""

    def bind(self, tables, streams, assembly):
        """Where rows go, and who knows about payload and order."""
        self.tables = tables
        self.streams = streams
        self.assembly = assembly

    def ended(self, slot):
        """Whether the packets show an end: an RST, both FINs, or one where only one direction is in view."""
        half: cython.size_t = cython.cast(cython.size_t, slot) * 2
        one: cython.int = self.assembly.halves[half].flags & FIN_SEEN
        two: cython.int = self.assembly.halves[half + 1].flags & FIN_SEEN
        if self.all[slot].state & RESET or (one and two):
            return True
        if one or two:
            return self.assembly.halves[half].packets == 0 or self.assembly.halves[half + 1].packets == 0
        return False

    def client_end(self, slot):
        return 0 if self.assembly.halves[cython.cast(cython.size_t, slot) * 2].flags & CLIENT else 1

    def intern_ends(self, slot):
        if self.all[slot].low == 0:
            self.all[slot].low = self.tables.addresses.address(self.all[slot].low_high, self.all[slot].low_low)
            self.all[slot].high = self.tables.addresses.address(self.all[slot].high_high, self.all[slot].high_low)
        return 0

    def write_opened(self, slot, ts_ns):
        half: cython.size_t = cython.cast(cython.size_t, slot) * 2
        client: cython.int = self.client_end(slot)
        row: cython.Py_ssize_t
        self.intern_ends(slot)
        row = self.tables.add_opened()
        self.tables.opened[row].at_ns = ts_ns
        self.tables.opened[row].conn = self.all[slot].number
        self.tables.opened[row].syn_ns = self.all[slot].syn_ns
        self.tables.opened[row].client = self.all[slot].high if client else self.all[slot].low
        self.tables.opened[row].server = self.all[slot].low if client else self.all[slot].high
        self.tables.opened[row].client_port = self.all[slot].high_port if client else self.all[slot].low_port
        self.tables.opened[row].server_port = self.all[slot].low_port if client else self.all[slot].high_port
        if self.assembly.halves[half + client].flags & SYN_SEEN:
            self.tables.opened[row].isn_c = self.assembly.halves[half + client].isn
        self.tables.opened[row].stack = self.all[slot].stack
        self.tables.opened[row].mss = self.all[slot].mss
        self.tables.opened[row].window = self.all[slot].window
        self.tables.opened[row].proto = self.all[slot].proto
        self.tables.opened[row].orientation = self.all[slot].orientation
        self.tables.opened[row].ttl_c = self.assembly.halves[half + client].ttl
        self.tables.opened[row].ttl_s = self.assembly.halves[half + (1 - client)].ttl
        self.tables.opened[row].interface = self.all[slot].interface
        return row

    def write_connection(self, slot, end, ended_ns):
        """The CONNECTION row as of now. ended_ns closes the last silence where no end was seen."""
        low: cython.size_t = cython.cast(cython.size_t, slot) * 2
        client: cython.int = self.client_end(slot)
        c: cython.size_t = low + client
        s: cython.size_t = low + (1 - client)
        half: cython.size_t
        r: cython.Py_ssize_t
        flags: uint32_t = self.all[slot].flags
        if self.ended(slot):
            end = END_RST if self.all[slot].state & RESET else END_FIN
        self.intern_ends(slot)
        r = self.tables.add_connection()
        self.tables.connections[r].at_ns = self.all[slot].last_ns
        self.tables.connections[r].conn = self.all[slot].number
        self.tables.connections[r].opened_ns = self.all[slot].opened_ns
        self.tables.connections[r].first_data_ns = self.all[slot].first_data_ns
        self.tables.connections[r].last_ns = self.all[slot].last_ns
        self.tables.connections[r].bytes_c = self.assembly.halves[c].bytes
        self.tables.connections[r].bytes_s = self.assembly.halves[s].bytes
        if self.all[slot].syn_ns and self.all[slot].synack_ns > self.all[slot].syn_ns:
            self.tables.connections[r].connect_ns = self.all[slot].synack_ns - self.all[slot].syn_ns
        self.tables.connections[r].ack_ns = self.all[slot].ack_ns
        self.tables.connections[r].idle_survived_ns = self.all[slot].survived
        if self.all[slot].before_end >= 0:
            self.tables.connections[r].idle_before_end_ns = self.all[slot].before_end
        elif ended_ns > self.all[slot].last_ns:
            self.tables.connections[r].idle_before_end_ns = ended_ns - self.all[slot].last_ns
        self.tables.connections[r].missing_bytes = self.assembly.holes[c].missing + self.assembly.holes[s].missing
        self.tables.connections[r].client = self.all[slot].high if client else self.all[slot].low
        self.tables.connections[r].server = self.all[slot].low if client else self.all[slot].high
        self.tables.connections[r].client_port = self.all[slot].high_port if client else self.all[slot].low_port
        self.tables.connections[r].server_port = self.all[slot].low_port if client else self.all[slot].high_port
        if self.assembly.halves[c].flags & SYN_SEEN:
            self.tables.connections[r].isn_c = self.assembly.halves[c].isn
        self.tables.connections[r].stack = self.all[slot].stack
        self.tables.connections[r].packets_c = self.assembly.halves[c].packets
        self.tables.connections[r].packets_s = self.assembly.halves[s].packets
        self.tables.connections[r].retransmits_c = self.assembly.halves[c].retransmits
        self.tables.connections[r].retransmits_s = self.assembly.halves[s].retransmits
        self.tables.connections[r].keepalive_probes = self.assembly.halves[c].probes + self.assembly.halves[s].probes
        self.tables.connections[r].tsval_c = self.all[slot].tsval
        self.tables.connections[r].duplicates = self.all[slot].duplicates
        self.tables.connections[r].mss = self.all[slot].mss
        self.tables.connections[r].window = self.all[slot].window
        self.tables.connections[r].resets_c = self.assembly.halves[c].resets
        self.tables.connections[r].resets_s = self.assembly.halves[s].resets
        self.tables.connections[r].interface = self.all[slot].interface
        self.tables.connections[r].vlan = self.all[slot].vlan
        self.tables.connections[r].proto = self.all[slot].proto
        self.tables.connections[r].orientation = self.all[slot].orientation
        self.tables.connections[r].end = end
        self.tables.connections[r].ttl_c = self.assembly.halves[c].ttl
        self.tables.connections[r].ttl_s = self.assembly.halves[s].ttl
        # Ends of the key are 1 and 2, so are client and server (Side): the same unless the client is the higher address.
        if self.all[slot].first_closer:
            self.tables.connections[r].first_closer = self.all[slot].first_closer ^ (3 if client else 0)
        if self.all[slot].first_sender:
            self.tables.connections[r].data_order = self.all[slot].first_sender ^ (3 if client else 0)
        if self.all[slot].state & DELIVERING:
            self.tables.connections[r].protocol7 = self.streams.protocol7(slot)
            self.tables.connections[r].requests = self.streams.requests(slot)
            self.tables.connections[r].responses = self.streams.responses(slot)
            self.tables.connections[r].turn_ns = self.streams.turn_ns(slot)
            flags |= self.streams.flags(slot)
        if self.assembly.holes[c].missing | self.assembly.holes[s].missing:
            flags |= FLAG_GAPS
        if self.assembly.halves[c].packets == 0 or self.assembly.halves[s].packets == 0:
            flags |= FLAG_ONE_DIRECTION
        if (self.assembly.halves[c].flags | self.assembly.halves[s].flags) & FIN_SEEN:
            flags |= FLAG_FIN_SEEN
        for half in range(low, low + 2):
            if self.assembly.halves[half].flags & RESENT and (
                not self.assembly.halves[half].flags & ACKED
                or cython.cast(int32_t, self.assembly.halves[half].acked - self.assembly.halves[half].next) < 0
            ):
                flags |= FLAG_SILENT_END
        self.tables.connections[r].flags = flags
        return 0
