"""Where decoded rows wait until a batch is handed over: one growing array of C structs per table."""

import cython
import numpy as np
from cython.cimports.cpython.ref import Py_REFCNT
from cython.cimports.libc.string import memset

from lbtop.model.observation import TABLES, Batch

LIMIT = 1 << 15
"""Rows in a batch, about: enough that the cost per batch does not matter, few enough that memory does not either."""
_FIRST = 1024
_NAMES = tuple(TABLES)
_REMEMBERED = 3
"""Arrays handed over that may be used again: as many as batches are under way."""


def _copy(rows, room=0):
    """A copy of rows, with room for more behind them. As plain bytes: field by field, as numpy copies structured arrays, takes
    four times as long."""
    copy = np.empty(len(rows) + room, rows.dtype)
    copy[: len(rows)].view(np.uint8)[:] = rows.view(np.uint8)
    return copy


class Tables:
    """Growable rows of every table, their common sequence number, and the two interners."""

    def __init__(self, strings, addresses, limit=LIMIT):
        self.strings = strings
        self.addresses = addresses
        self.limit = limit
        self.due = limit
        self.arrays = [np.empty(_FIRST, dtype) for dtype in TABLES.values()]
        self.handed = [[] for _ in TABLES]
        for table in range(len(_NAMES)):
            self._bind(table)

    def flush(self, final=False):
        """The rows since the last flush, as a Batch that nobody else writes to.

        A batch ends at a multiple of ``limit`` where one was reached, so that whoever cuts at such multiples has nothing to
        cut; rows that the last packet wrote beyond it wait for the next batch.
        """
        tables = {}
        beyond = not final and self.seq > self.due
        for table, name in enumerate(_NAMES):
            waiting = self.arrays[table][: self.used[table]]
            taken = int(np.searchsorted(waiting["seq"], self.due)) if beyond else len(waiting)
            rest = _copy(waiting[taken:])
            if taken <= _FIRST or 2 * taken < len(self.arrays[table]):
                tables[name] = _copy(waiting[:taken])  # a few rows shall not hold on to room for many
            else:
                tables[name] = waiting[:taken]
                self._replace(table)
            self.arrays[table][: len(rest)] = rest
            self.used[table] = len(rest)
        reached = self.due if beyond else self.seq
        self.rows = self.seq - reached
        self.due = (reached // self.limit + 1) * self.limit
        return Batch(tables, self.strings, self.addresses, final)

    def take_back(self, table: cython.int, since: cython.Py_ssize_t):
        """Copies of the rows of the table with this number from row ``since`` on, which are withdrawn (a look, not an event)."""
        found = _copy(self.arrays[table][since : self.used[table]])
        self.rows -= self.used[table] - since
        self.seq -= self.used[table] - since
        self.used[table] = since
        return found

    def waiting(self, table: cython.int):
        """Rows that wait in the table with this number (its place in TABLES)."""
        return self.used[table]

    def _replace(self, table):
        """The array of a table has gone with its batch. Another takes its place: one that went with an earlier batch, if nobody
        holds rows of it any more, as its memory is in the caches."""
        i: cython.Py_ssize_t
        gone = self.handed[table]
        fresh = None
        for i in range(len(gone)):
            fresh = gone[i]
            if Py_REFCNT(fresh) == 2:  # the list, and this name
                del gone[i]
                break
            fresh = None
        old = self.arrays[table]
        gone.append(old)
        del gone[:-_REMEMBERED]
        self.arrays[table] = fresh if fresh is not None and len(fresh) == len(old) else np.empty(len(old), old.dtype)
        self._bind(table)
        return 0

    def _grow(self, table):
        old = self.arrays[table]
        self.arrays[table] = _copy(old, len(old))
        self._bind(table)
        return 0

    def _bind(self, table):
        # Assigning an array checks kind, size and offset of every field against the struct: a drift fails at once.
        array = self.arrays[table]
        if table == 0:
            self.opened = array
        elif table == 1:
            self.handshakes = array
        elif table == 2:
            self.proxies = array
        elif table == 3:
            self.requests = array
        elif table == 4:
            self.cookies = array
        elif table == 5:
            self.responses = array
        elif table == 6:
            self.secrets = array
        elif table == 7:
            self.connections = array
        elif table == 8:
            self.processes = array
        return 0

    def add_opened(self):
        row: cython.Py_ssize_t = self.used[0]
        if row == self.opened.shape[0]:
            with cython.gil:
                self._grow(0)
        self.used[0] = row + 1
        self.rows += 1
        memset(cython.address(self.opened[row]), 0, cython.sizeof(OpenedRow))
        self.opened[row].seq = self.seq
        self.seq += 1
        return row

    def add_handshake(self):
        row: cython.Py_ssize_t = self.used[1]
        if row == self.handshakes.shape[0]:
            with cython.gil:
                self._grow(1)
        self.used[1] = row + 1
        self.rows += 1
        memset(cython.address(self.handshakes[row]), 0, cython.sizeof(HandshakeRow))
        self.handshakes[row].seq = self.seq
        self.seq += 1
        return row

    def add_proxy(self):
        row: cython.Py_ssize_t = self.used[2]
        if row == self.proxies.shape[0]:
            with cython.gil:
                self._grow(2)
        self.used[2] = row + 1
        self.rows += 1
        memset(cython.address(self.proxies[row]), 0, cython.sizeof(ProxyRow))
        self.proxies[row].seq = self.seq
        self.seq += 1
        return row

    def add_request(self):
        row: cython.Py_ssize_t = self.used[3]
        if row == self.requests.shape[0]:
            with cython.gil:
                self._grow(3)
        self.used[3] = row + 1
        self.rows += 1
        memset(cython.address(self.requests[row]), 0, cython.sizeof(RequestRow))
        self.requests[row].seq = self.seq
        self.seq += 1
        return row

    def add_cookie(self):
        row: cython.Py_ssize_t = self.used[4]
        if row == self.cookies.shape[0]:
            with cython.gil:
                self._grow(4)
        self.used[4] = row + 1
        self.rows += 1
        memset(cython.address(self.cookies[row]), 0, cython.sizeof(CookieRow))
        self.cookies[row].seq = self.seq
        self.seq += 1
        return row

    def add_response(self):
        row: cython.Py_ssize_t = self.used[5]
        if row == self.responses.shape[0]:
            with cython.gil:
                self._grow(5)
        self.used[5] = row + 1
        self.rows += 1
        memset(cython.address(self.responses[row]), 0, cython.sizeof(ResponseRow))
        self.responses[row].seq = self.seq
        self.seq += 1
        return row

    def add_secret(self):
        row: cython.Py_ssize_t = self.used[6]
        if row == self.secrets.shape[0]:
            with cython.gil:
                self._grow(6)
        self.used[6] = row + 1
        self.rows += 1
        memset(cython.address(self.secrets[row]), 0, cython.sizeof(SecretRow))
        self.secrets[row].seq = self.seq
        self.seq += 1
        return row

    def add_connection(self):
        row: cython.Py_ssize_t = self.used[7]
        if row == self.connections.shape[0]:
            with cython.gil:
                self._grow(7)
        self.used[7] = row + 1
        self.rows += 1
        memset(cython.address(self.connections[row]), 0, cython.sizeof(ConnectionRow))
        self.connections[row].seq = self.seq
        self.seq += 1
        return row

    def add_process(self):
        row: cython.Py_ssize_t = self.used[8]
        if row == self.processes.shape[0]:
            with cython.gil:
                self._grow(8)
        self.used[8] = row + 1
        self.rows += 1
        memset(cython.address(self.processes[row]), 0, cython.sizeof(ProcessRow))
        self.processes[row].seq = self.seq
        self.seq += 1
        return row
