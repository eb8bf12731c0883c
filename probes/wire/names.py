"""Names to small numbers, whatever their case: header fields and the parameters whose values are secrets."""

import cython
from cython.cimports.lbtop.probes.wire.scan import CASE, MIX, folded

MASK = cython.declare(cython.size_t, PLACES - 1)

_HEADERS = {
    b"host": H_HOST,
    b":authority": H_HOST,
    b"user-agent": H_USER_AGENT,
    b"cookie": H_COOKIE,
    b"set-cookie": H_SET_COOKIE,
    b"content-length": H_CONTENT_LENGTH,
    b"content-type": H_CONTENT_TYPE,
    b"transfer-encoding": H_TRANSFER_ENCODING,
    b"connection": H_CONNECTION,
    b"upgrade": H_UPGRADE,
    b"x-forwarded-for": H_X_FORWARDED_FOR,
    b"forwarded": H_FORWARDED,
    b"x-forwarded-proto": H_X_FORWARDED_PROTO,
    b"x-forwarded-port": H_X_FORWARDED_PORT,
    b"x-forwarded-host": H_X_FORWARDED_OTHER,
    b"x-forwarded-server": H_X_FORWARDED_OTHER,
    b"x-forwarded-scheme": H_X_FORWARDED_OTHER,
    b"x-real-ip": H_REAL_IP,
    b"cf-connecting-ip": H_REAL_IP,
    b"true-client-ip": H_REAL_IP,
    b"fastly-client-ip": H_REAL_IP,
    b"via": H_VIA,
    b"authorization": H_AUTHORIZATION,
    b"proxy-authorization": H_AUTHORIZATION,
    b"sec-fetch-site": H_SEC_FETCH_SITE,
    b"sec-ch-ua": H_SEC_CH_UA,
    b"accept-encoding": H_ACCEPT_ENCODING,
    b"origin": H_ORIGIN,
    b"referer": H_REFERER,
    b"x-amzn-trace-id": H_TRACE_ID,
    b"upgrade-insecure-requests": H_UPGRADE_INSECURE,
    b"location": H_LOCATION,
    b"server": H_SERVER,
    b"x-request-id": H_REQUEST_ID,
}


class Names:
    """A hash table over the first, middle and last eight bytes of a name: all of it up to 24 bytes, enough of a longer one
    to tell the names apart that stand in the table (what else would match is nobody's header)."""

    def __init__(self, buffer, codes):
        self.buffer = buffer
        for name, code in codes.items():
            if not 0 < len(name) <= LONGEST_NAME:
                raise ValueError(f"a name has 1 to {LONGEST_NAME} bytes: {name!r}")
            first, middle, last, length = _key(name)
            self.put(first, middle, last, length, code)

    def put(self, first, middle, last, length, code):
        place: cython.size_t = ((first ^ (last << 7) ^ length) * MIX) >> 54
        while self.places[place].code:
            place = (place + 1) & MASK
        self.places[place].first = first
        self.places[place].middle = middle
        self.places[place].last = last
        self.places[place].length = length
        self.places[place].code = code
        return 0

    def code(self, offset, length):
        """Number of the name at ``offset``; 0 for an unknown one."""
        if length <= 0 or length > LONGEST_NAME:
            return 0
        first: cython.ulonglong = folded(self.buffer, offset, length)
        middle: cython.ulonglong = 0
        last: cython.ulonglong = 0
        if length > 8:
            last = self.buffer.u64[offset + length - 8] | CASE
            if length > 16:
                middle = self.buffer.u64[offset + length // 2 - 4] | CASE
        wanted: cython.ulonglong = length
        place: cython.size_t = ((first ^ (last << 7) ^ wanted) * MIX) >> 54
        name: cython.pointer(Name) = cython.address(self.places[place])
        while name.code:
            if name.first == first and name.last == last and name.middle == middle and name.length == wanted:
                return name.code
            place = (place + 1) & MASK
            name = cython.address(self.places[place])
        return 0


def _key(name):
    """The four items under which :meth:`Names.code` will look for the name."""
    length = len(name)
    fold = bytes(byte | 0x20 for byte in name)
    first = int.from_bytes(fold[:8], "little")
    last = int.from_bytes(fold[length - 8 :], "little") if length > 8 else 0
    middle = int.from_bytes(fold[length // 2 - 4 : length // 2 + 4], "little") if length > 16 else 0
    return first, middle, last, length


def header_names(buffer, recognition):
    """Every header the decoder knows, those of the recognition tables included."""
    codes = dict(_HEADERS)
    for name in sorted(recognition.api_key_headers):
        codes.setdefault(name, H_API_KEY)
    for number, name in enumerate(recognition.tls_headers):
        codes.setdefault(name, H_TLS + number)
    return Names(buffer, codes)


def parameter_names(buffer, recognition):
    """Parameters whose value is a secret, by its SecretKind."""
    return Names(buffer, {name: int(kind) for name, kind in recognition.parameters.items()})
