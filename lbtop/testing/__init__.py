"""Made-up traffic for tests: build observations row by row, without packets.

    traffic = Traffic()
    conn = traffic.connect("10.0.1.5", "10.0.0.11:8080")
    conn.request("GET", "/cart", cookies={"AWSALB": "x1", "JSESSIONID": "s1"}, forwarded=["203.0.113.7"])
    conn.respond(200, set_cookies={"JSESSIONID": "s2"})
    conn.close()
    facts_or_snapshot = ...(traffic.source())

Times are seconds since :attr:`Traffic.start_ns`; every call that does not give one happens :data:`STEP_S` after the one
before. Rows get their sequence numbers in order of time (ties: order of the calls), as a real source numbers them, so
that a test may describe one connection after the other. Values (cookies, tickets, randoms) are given as text and
turned into stable made-up hashes.
"""

from lbtop.testing.connection import Connection
from lbtop.testing.interner import TextInterner, hashed, split_endpoint
from lbtop.testing.traffic import LINUX, START_NS, STEP_S, ListSource, Traffic

__all__ = ["LINUX", "START_NS", "STEP_S", "Connection", "ListSource", "TextInterner", "Traffic", "hashed", "split_endpoint"]
