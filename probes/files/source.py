"""Capture files as a source of observations."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lbtop.probes.files import formats
from lbtop.probes.files.feed import STDIN, Feed, size_of
from lbtop.probes.files.reading import Readers, pays, room
from lbtop.probes.files.records import Records
from lbtop.probes.wire.buffer import AREA_BYTES
from lbtop.probes.wire.decoder import Decoder
from lbtop.probes.wire.link import is_known_link

from lbtop.model.errors import LbtopError
from lbtop.model.observation import Batch, Rows, SourceStats
from lbtop.model.text import safe_text

if TYPE_CHECKING:
    from lbtop.probes.wire.keylog import KeyLog
    from lbtop.probes.wire.recognition import Recognition

_DONE, _BATCH, _NEED, _BLOCK, _DAMAGED, _ACTIVATE = range(6)  # as in records.pxd
_PCAP, _PCAPNG = 1, 2
_FOREVER = 0x7FFFFFFFFFFFFFFF
MOST_AT_ONCE = 32
"""Files that overlap in time and are read side by side."""
_PATIENCE = 256
"""Reads after which a batch is handed over although few rows wait: progress wants to be shown."""
_FOLLOW_S = 0.1


class CaptureSource:
    """One or more capture files, merged by time. Implements :class:`lbtop.model.observation.Source`.

    ``chunk`` is the most that one read asks for, ``rows`` the size of a batch, ``ahead`` whether plain files are read by threads
    of their own (where that pays, unless it says): none of them changes what is observed.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        since_ns: int | None = None,
        until_ns: int | None = None,
        recognition: Recognition | None = None,
        key: bytes | None = None,
        follow: bool = False,
        chunk: int | None = None,
        rows: int | None = None,
        connections: int | None = None,
        keylog: str | None = None,
        ahead: bool | None = None,
    ) -> None:
        if not paths:
            raise LbtopError("no capture named: give one or more pcap or pcapng files, or - for standard input")
        self._paths = tuple(paths)
        self._follow = follow
        self._chunk = chunk or 1 << 30
        self._areas = min(len(self._paths), MOST_AT_ONCE)
        sizes = [size_of(path) for path in self._paths]
        self._total = None if None in sizes else sum(size for size in sizes if size is not None)
        # What grows is read as it comes.
        self._ahead = [not follow and (pays(size) if ahead is None else ahead) for size in sizes]
        spare = room(AREA_BYTES, self._areas) if any(self._ahead) else 0
        settings: dict[str, Any] = {"key": key, "recognition": recognition, "areas": self._areas, "spare": spare}
        if rows is not None:
            settings["limit"] = rows
        if connections is not None:
            settings["connections"] = connections
        self._decoder = Decoder(**settings)
        self._log: KeyLog | None = None
        if keylog is not None:
            self._keys().open(keylog)
        self._readers = Readers(self._decoder.buffer, AREA_BYTES)
        self._records = Records(self._decoder, len(self._paths), self._readers)
        if since_ns is not None:
            self._records.since_ns = since_ns
        if until_ns is not None:
            self._records.until_ns = until_ns
        self._feeds: dict[int, Feed] = {}
        self._swapped: dict[int, bool] = {}
        self._area_of: dict[int, int] = {}
        self._read_by: dict[int, int] = {}  # number of the thread that reads a file
        self._known_links = 0
        self._unknown_links: set[int] = set()
        self._notes: list[str] = []
        self._cut_at: int | None = None
        self._dropped: int | None = None
        self._read_before = 0
        self._final = False
        self._stopping = False
        self.secrets: list[bytes] = []
        """Key logs that the captures carry (pcapng decryption secrets), for whoever decrypts."""
        self._waiting = self._order()
        self._activate()

    def poll(self, timeout_s: float = 0.0) -> Batch | None:
        if self._final:
            return None
        if self._stopping:
            if not self._follow:
                read = self._read_so_far()
                of = f" of {self._total:,}" if self._total else ""
                self._note(f"reading was ended early: {read:,}{of} bytes were read")
            return self._finish()
        if self._decoder.due():
            return self._flush()
        reads = 0
        deadline = time.monotonic() + timeout_s if self._follow else 0.0
        while True:
            code = self._records.walk()
            which = self._records.which
            if code == _NEED:
                reads += 1
                if not self._fill(which):
                    if self._follow:
                        if time.monotonic() >= deadline:
                            return self._flush() if self._decoder.tables.rows else None
                        time.sleep(_FOLLOW_S)
                        continue
                    self._end(which)
                elif reads >= _PATIENCE:
                    return self._flush()
            elif code == _BATCH:
                return self._flush()
            elif code == _BLOCK:
                self._block(which)
            elif code == _DAMAGED:
                where = self._records.position(which)
                self._note(f"{self._feeds[which].name} is damaged at byte {where}: the rest of it was left out")
                self._end(which, damaged=True)
            elif code == _ACTIVATE or self._waiting:
                self._activate()
            else:
                return self._finish()

    @property
    def complete(self) -> bool:
        """Whether all there is to read lies in regular files: no read waits for somebody to write."""
        return self._total is not None and not self._follow

    def stop(self) -> None:
        """The next :meth:`poll` reads no further and gives the last batch."""
        self._stopping = True

    def live(self) -> Rows:
        rows: Rows = self._decoder.live()
        return rows

    def stats(self) -> SourceStats:
        decoder = self._decoder
        seen = decoder.packets + decoder.duplicates > 0
        notes = list(self._notes)
        if self._records.oversized:
            notes.append(f"{self._records.oversized} packets larger than the read buffer were left out")
        return SourceStats(
            kind="capture",
            inputs=self._paths,
            started_ns=decoder.started_ns if seen else 0,
            ended_ns=decoder.ended_ns if seen else 0,
            packets=decoder.packets,
            bytes=decoder.bytes,
            undecoded_packets=decoder.undecoded + decoder.fragments.lost + decoder.fragments.waiting,
            truncated_packets=decoder.truncated,
            duplicate_packets=decoder.duplicates,
            dropped_packets=self._dropped,
            cut_at_byte=self._cut_at,
            half_open_evicted=decoder.connections.half_open_evicted,
            caps_reached=decoder.caps_reached(),
            read_bytes=self._read_so_far(),
            total_bytes=self._total,
            notes=tuple(notes),
        )

    def close(self) -> None:
        for i in list(self._feeds):
            self._close(i)
        self._waiting.clear()
        self._final = True

    def _order(self) -> list[tuple[int, int]]:
        """(time of its first packet, number) of every file, latest first. One file alone is not looked into."""
        if len(self._paths) == 1:
            return [(-_FOREVER, 0)]
        found = []
        for i, path in enumerate(self._paths):
            first: int | None = -_FOREVER
            if path != STDIN:
                feed = Feed(path)
                try:
                    first = formats.first_time_ns(feed)
                finally:
                    feed.close()
            found.append((-_FOREVER if first is None else first, i))
        return sorted(found, reverse=True)

    def _activate(self) -> None:
        """Opens the next file, and all that begin at the same time."""
        first, i = self._waiting.pop()
        self._open(i)
        while self._waiting and self._waiting[-1][0] <= first:
            self._open(self._waiting.pop()[1])
        self._records.activate_ns = self._waiting[-1][0] if self._waiting else _FOREVER

    def _open(self, i: int) -> None:
        taken = set(self._area_of.values())
        free = next((area for area in range(self._areas) if area not in taken), None)
        if free is None:
            raise LbtopError(
                f"more than {MOST_AT_ONCE} of these captures overlap in time: merge some of them with mergecap first"
            )
        feed = Feed(self._paths[i])
        header = formats.pcap_header(feed)
        self._feeds[i] = feed
        self._area_of[i] = free
        begin = self._decoder.buffer.area + free * self._decoder.buffer.area_size
        if header is None:
            self._swapped[i] = False
            self._records.activate(i, begin, begin, begin, _PCAPNG, False, reader=self._read_ahead(i))
            return
        if not is_known_link(header.linktype):
            if len(self._paths) == 1:
                feed.close()
                raise _unknown_link(feed.name, header.linktype)
            self._unknown_links.add(header.linktype)
            self._note(f"{feed.name} has {formats.link_name(header.linktype)}, which is not decoded")
        else:
            self._known_links += 1
        self._records.activate(
            i, begin, begin, begin, _PCAP, header.swapped, header.fraction_ns, header.linktype, header.extra, self._read_ahead(i)
        )

    def _read_ahead(self, i: int) -> int:
        """Gives a file that was just opened a thread that reads it; under which number, -1 for none."""
        plain = self._feeds[i].plain() if self._ahead[i] else None
        if plain is None:
            return -1
        area = self._area_of[i]
        try:
            self._readers.open(area, *plain, self._chunk)
        except RuntimeError:  # no more threads are allowed here: it is read without one
            return -1
        self._read_by[i] = area
        return area

    def _read_so_far(self) -> int:
        """Bytes of all files, as they are stored."""
        return self._read_before + sum(self._read(i) for i in self._feeds)

    def _read(self, i: int) -> int:
        """Bytes of an open file that were read, as it is stored."""
        taken: int = self._readers.taken(self._read_by[i]) if i in self._read_by else self._feeds[i].raw_bytes
        return taken

    def _close(self, i: int) -> Feed:
        """Closes a file and whatever reads it."""
        self._read_before += self._read(i)
        if i in self._read_by:
            self._readers.close(self._read_by.pop(i))
        feed = self._feeds.pop(i)
        feed.close()
        return feed

    def _fill(self, i: int) -> bool:
        """Reads the next bytes of a file; False at its end."""
        if i in self._read_by:
            # Its reader has no more. A failed read is told when the bytes before it are decoded.
            error = self._readers.error(self._read_by[i])
            if error:
                raise LbtopError(f"cannot read {self._feeds[i].name}: {os.strerror(error)}")
            return False
        offset, free = self._records.room(i)
        size = min(free, self._chunk)
        if not size:
            return False
        got = self._feeds[i].readinto(memoryview(self._decoder.buffer.array[offset : offset + size]))
        self._records.extend(i, got)
        return bool(got)

    def _end(self, i: int, damaged: bool = False) -> None:
        where = self._records.position(i)
        cut = self._records.close(i)
        feed = self._close(i)
        if cut is None and feed.cut:
            cut = where
        if cut is not None:
            if self._cut_at is None:
                self._cut_at = cut + self._header_size(i)
            if not damaged:
                self._note(f"{feed.name} ends in the middle of a packet, at byte {cut + self._header_size(i)}")
        del self._area_of[i]

    def _header_size(self, i: int) -> int:
        return 0 if i in self._swapped else 24

    def _block(self, i: int) -> None:
        block = self._records.block(i)
        if block[:4] == formats.PCAPNG_MAGIC:
            self._swapped[i] = formats.section_swapped(block)
            self._records.begin_section(i, self._swapped[i])
            return
        swapped = self._swapped[i]
        kind = formats.block_type(block, swapped)
        if kind == formats.DESCRIPTION:
            found = formats.description(block, swapped)
            if is_known_link(found.linktype):
                self._known_links += 1
            else:
                self._unknown_links.add(found.linktype)
            times = found.kind, found.factor, found.offset_ns
            if not self._records.add_interface(i, found.linktype, found.snaplen, *times, found.host_side):
                self._note(f"{self._feeds[i].name} describes too many interfaces: packets of the last ones are not decoded")
        elif kind == formats.STATISTICS:
            dropped = formats.dropped(block, swapped)
            if dropped is not None:
                self._dropped = (self._dropped or 0) + dropped
        elif kind == formats.SECRETS and len(self.secrets) < 64:
            keys = formats.secrets(block, swapped)
            if keys is not None:
                self.secrets.append(keys)
                self._take_keys(keys)

    def _take_keys(self, text: bytes) -> None:
        from lbtop.probes.wire.keylog import ciphers

        if self._log is None and not ciphers():
            self._note("the capture holds TLS keys, and what they open was not read: pip install 'lbtop[keys]'")
            return
        self._keys().add(text)

    def _keys(self) -> KeyLog:
        """The keys known; from the first call on the decoder asks for them."""
        if self._log is None:
            from lbtop.probes.wire.keylog import KeyLog

            self._log = KeyLog()
            self._decoder.streams.unseal_with(self._log)
        return self._log

    def _flush(self) -> Batch:
        batch: Batch = self._decoder.flush()
        return batch

    def _finish(self) -> Batch:
        self._final = True
        for i in list(self._feeds):
            self._close(i)
        if self._unknown_links and not self._known_links:
            raise _unknown_link(safe_text(self._paths[0]), min(self._unknown_links))
        batch: Batch = self._decoder.finish()
        return batch

    def _note(self, sentence: str) -> None:
        if len(self._notes) < 20:
            self._notes.append(sentence)


def _unknown_link(name: str, linktype: int) -> LbtopError:
    return LbtopError(
        f"{name}: {formats.link_name(linktype)} is not decoded; captures of Ethernet, Linux cooked (tcpdump -i any), "
        f"raw IP, loopback or PPP work"
    )


def open_capture(
    paths: Sequence[str] | str,
    *,
    since_ns: int | None = None,
    until_ns: int | None = None,
    recognition: Recognition | None = None,
    key: bytes | None = None,
    follow: bool = False,
    chunk: int | None = None,
    rows: int | None = None,
    connections: int | None = None,
    keylog: str | None = None,
    ahead: bool | None = None,
) -> CaptureSource:
    """The observations of capture files (pcap, pcapng, gzip or zstd of them; "-" is standard input), merged by time.

    Packets before ``since_ns`` and from ``until_ns`` on are left out. ``keylog``: a file of TLS secrets (SSLKEYLOGFILE); with it,
    or with those that a pcapng carries itself, what is inside TLS is read as well. Raises LbtopError where a file is no capture.
    """
    return CaptureSource(
        [paths] if isinstance(paths, str) else list(paths),
        since_ns=since_ns,
        until_ns=until_ns,
        recognition=recognition,
        key=key,
        follow=follow,
        chunk=chunk,
        rows=rows,
        connections=connections,
        keylog=keylog,
        ahead=ahead,
    )
