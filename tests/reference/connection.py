"""One TCP connection or datagram flow, and each of its directions."""

from __future__ import annotations

from dataclasses import dataclass, field

from lbtop.model.observation import ConnFlag, End, Orientation, Side
from tests.reference.conversation import Conversation

NO_FLAGS = ConnFlag(0)
Endpoint = tuple[bytes, int]


@dataclass(slots=True)
class Half:
    """One direction of a connection."""

    endpoint: Endpoint
    packets: int = 0
    carried: int = 0  # distinct payload bytes
    missing: int = 0
    retransmits: int = 0
    resets: int = 0
    ttl: int = 0
    isn: int | None = None
    answered: int | None = None  # number of the SYN that a SYN-ACK answers
    expected: int | None = None  # next sequence number, not wrapped
    begun: int | None = None  # the first one seen
    anchored: bool = False  # the start is certain: SYN or payload seen
    fin_at: int | None = None  # sequence number of the FIN
    acked: int | None = None  # highest acknowledgement of it by the other end
    last_data: tuple[int, int] = (0, 0)  # end of its last segment with payload, and what that segment acknowledged
    last_resent: bool = False
    isn_repeated: bool = False
    clock: int = 0  # of the last byte delivered
    holes: list[tuple[int, int]] = field(default_factory=list)  # given up
    waiting: dict[int, tuple[int, bytes, int]] = field(default_factory=dict)  # seq -> wire length, bytes, time

    @property
    def unseen(self) -> int:
        """Bytes after all that came: before the FIN, or acknowledged; the last number that is may be a FIN's."""
        seen = self.expected if self.anchored else self.begun
        if seen is None:
            return 0
        end = self.fin_at if self.fin_at is not None else (self.acked or 0) - 1
        return max(0, end - seen)

    def unwrap(self, seq: int) -> int:
        if self.expected is None:
            return seq
        return self.expected + ((seq - self.expected + 0x80000000) % 0x100000000 - 0x80000000)


@dataclass(slots=True)
class Connection:
    number: int
    proto: int
    client: Half
    server: Half
    opened_ns: int
    interface: int
    vlan: int
    orientation: Orientation
    conversation: Conversation
    last_ns: int = 0
    syn_ns: int = 0
    synack_ns: int = 0
    connect_ns: int = 0
    ack_ns: int = 0
    first_data_ns: int = 0
    data_order: Side = Side.NONE
    flags: ConnFlag = NO_FLAGS
    mss: int = 0
    window: int = 0
    tsval: int = 0
    stack: bytes = b""
    probes: int = 0
    duplicates: int = 0
    first_closer: Side = Side.NONE
    reset: bool = False
    forced_end: End | None = None
    last_side: Side = Side.NONE
    silence: int = 0  # before the last packet
    unanswered: dict[Side, int] = field(default_factory=dict)  # longest silence that this side broke without an answer yet
    survived: int = 0
    longest_silence: int = 0
    idle_before_end: int | None = None

    def half(self, side: Side) -> Half:
        return self.client if side is Side.CLIENT else self.server

    def swap(self, why: Orientation) -> None:
        self.conversation.swap()
        self.client, self.server = self.server, self.client
        self.orientation = why
        mirror = {Side.NONE: Side.NONE, Side.CLIENT: Side.SERVER, Side.SERVER: Side.CLIENT}
        self.data_order, self.first_closer, self.last_side = (
            mirror[self.data_order],
            mirror[self.first_closer],
            mirror[self.last_side],
        )
        self.unanswered = {mirror[side]: silence for side, silence in self.unanswered.items()}

    @property
    def end(self) -> End:
        if self.forced_end is not None:
            return self.forced_end
        if self.reset:
            return End.RST
        fins = [half.fin_at is not None for half in (self.client, self.server)]
        if all(fins) or (any(fins) and self.one_direction):
            return End.FIN
        return End.OPEN

    @property
    def one_direction(self) -> bool:
        return not (self.client.packets and self.server.packets)


def crossed(connection: Connection) -> bool:
    """The client's last segment with payload neither knew of the server's FIN nor was ever acknowledged."""
    client, server = connection.client, connection.server
    end, knew = client.last_data
    if server.fin_at is None or client.acked is None or not end:
        return False
    return knew <= server.fin_at and client.acked < end
