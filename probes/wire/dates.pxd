from libc.stdint cimport int64_t

from lbtop.probes.wire.buffer cimport Buffer

cdef extern from *:
    """static const char lb_months[] = "janfebmaraprmayjunjulaugsepoctnovdec";"""
    const char *MONTHS "lb_months"

cdef int64_t civil_seconds(int64_t year, int month, int day, int hour, int minute, int second) except? -2 nogil
cdef int64_t http_date(Buffer buffer, Py_ssize_t offset, Py_ssize_t end) except? -2 nogil
