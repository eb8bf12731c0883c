"""Dates on the wire, as seconds since the Unix epoch."""

import cython
from cython.cimports.lbtop.probes.wire.scan import find_byte, is_digit, starts_folded


def civil_seconds(year, month, day, hour, minute, second):
    """Seconds of a date in the Gregorian calendar; out-of-range fields carry over."""
    # Years begin in March here, so that the leap day is the last one of its year.
    if month <= 2:
        year -= 1
        month += 12
    days: int64_t = year * 365 + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 1 - 719468
    return days * 86400 + hour * 3600 + minute * 60 + second


def http_date(buffer, offset, end):
    """An HTTP date (RFC 9110 section 5.6.7, and the older form with dashes); -1 for none, 0 for one before the epoch."""
    numbers: cython.int[5]
    count: cython.int = 0
    month: cython.int = 0
    value: cython.int
    candidate: cython.int
    year: int64_t
    at: cython.Py_ssize_t = find_byte(buffer, offset, end, 0x2C)
    if at < 0 or end - at > 40:
        return -1
    while at < end and count < 5:
        if is_digit(buffer.u8[at]):
            value = 0
            while at < end and is_digit(buffer.u8[at]) and value < 10000:
                value = value * 10 + (buffer.u8[at] - 0x30)
                at += 1
            numbers[count] = value
            count += 1
        elif count == 1 and month == 0 and (buffer.u8[at] | 0x20) >= 0x61:
            for candidate in range(12):
                if starts_folded(buffer, at, end, MONTHS + 3 * candidate, 3):
                    month = candidate + 1
            if month == 0:
                return -1
            at += 3
        else:
            at += 1
    if count < 5 or month == 0 or numbers[0] == 0 or numbers[0] > 31:
        return -1
    year = numbers[1]
    if year < 100:
        year += 2000 if year < 70 else 1900
    return max(civil_seconds(year, month, numbers[0], numbers[2], numbers[3], numbers[4]), 0)
