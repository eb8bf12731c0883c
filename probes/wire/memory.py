"""Arrays laid out for the processor."""

from __future__ import annotations

import numpy as np

from lbtop.model.observation import Rows

LINE = 64


def lines(count: int, dtype: np.dtype[np.void]) -> Rows:
    """``count`` zeroed structs, the first at the start of a cache line: what shares a line in the struct then does in memory.

    The kernel zeroes lazily: pages cost memory from their first use on.
    """
    spare = np.zeros(count * dtype.itemsize + LINE, np.uint8)
    begin = -spare.ctypes.data % LINE
    rows: Rows = spare[begin : begin + count * dtype.itemsize].view(dtype)
    return rows
