"""Which probe: the eBPF filter where the host allows it, the plain ring otherwise, and why."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from lbtop.probes.live.source import PacketSource

from lbtop.model.errors import LbtopError

if TYPE_CHECKING:
    from lbtop.probes.ebpf.libraries import Scope
    from lbtop.probes.wire.recognition import Recognition


def open_probe(
    probe: str = "auto",
    interfaces: Sequence[str] = (),
    *,
    ports: Sequence[int] = (),
    for_s: float | None = None,
    recognition: Recognition | None = None,
    max_cpu: float | None = None,
    inside: Scope | None = None,
) -> PacketSource:
    """A running live source. ``auto`` falls back to the plain ring and says why in its notes. Raises LbtopError.

    ``max_cpu``: share of one processor that the process may take before less is read (the plain ring cannot read less).
    ``inside``: whose heads are read inside TLS; where that is not possible a note says why, and packets must do.
    """
    source = _open(probe, interfaces, ports, for_s, recognition, max_cpu)
    if source.kind == "ebpf":
        from lbtop.probes.ebpf.tcp_events import TcpEvents
        from lbtop.probes.ebpf.toolchain import Unavailable

        with suppress(Unavailable, OSError):  # lbtop doctor says why
            source.kernel = TcpEvents()
    if inside is not None:
        from lbtop.probes.ebpf.plaintext import Plaintext
        from lbtop.probes.ebpf.toolchain import Unavailable

        try:
            source.inside = Plaintext(inside, source.decoder)
        except (Unavailable, OSError) as why:
            source.notes.append(f"nothing is read inside TLS: {why}")
    return source


def _open(
    probe: str,
    interfaces: Sequence[str],
    ports: Sequence[int],
    for_s: float | None,
    recognition: Recognition | None,
    max_cpu: float | None,
) -> PacketSource:
    reason = ""
    if probe in ("auto", "ebpf"):
        from lbtop.probes.ebpf.source import EbpfSource
        from lbtop.probes.ebpf.toolchain import Unavailable

        try:
            return EbpfSource(interfaces, ports=ports, for_s=for_s, recognition=recognition, max_cpu=max_cpu)
        except Unavailable as why:
            if probe == "ebpf":
                raise LbtopError(f"no eBPF here: {why}") from None
            reason = str(why)
    source = PacketSource(interfaces, ports=ports, for_s=for_s, recognition=recognition)
    if reason:
        source.notes.append(f"plain packet ring, because {reason}")
    if max_cpu is not None:
        source.notes.append("--max-cpu has no effect: without the eBPF filter every packet is read")
    return source
