"""``make filter``: compiles the socket filter with bcc and writes it to probes/ebpf/ledger.bpf. Needs root and python3-bpfcc."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lbtop.probes.ebpf import program
from lbtop.probes.ebpf.prebuilt import FILE, Prebuilt, placed
from lbtop.probes.ebpf.toolchain import load_bcc

REMARKS = """The socket filter of ledger.c, compiled beforehand by make filter (scripts/filter.py). Do not edit.
source: SHA-256 of its text. map: type, bytes of a key and of a value, entries, flags. Then the instructions, 8 bytes each;
where they load a map they have its place in this list."""


def compiled() -> Prebuilt:
    """What bcc makes of the source as it is now."""
    bcc = load_bcc()
    loaded = bcc.BPF(text=program.source().encode(), cflags=program.flags(program.ENTRIES))
    made = Prebuilt("")
    made.source = digest()
    places = {}
    for number, name in enumerate(program.MAPS):
        descriptor = loaded[name.encode()].map_fd
        places[descriptor] = number
        lines = (line.split() for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines())
        facts = {words[0].rstrip(":"): words[1] for words in lines if len(words) == 2}
        kind, key, value, entries, flags = (
            int(facts[what], 0) for what in ("map_type", "key_size", "value_size", "max_entries", "map_flags")
        )
        made.maps[name] = kind, key, value, entries, flags
    made.code = placed(loaded.dump_func(program.FUNCTION.encode()), places)
    return made


def digest() -> str:
    """Of what the compiler is given."""
    return hashlib.sha256("\n".join((program.source(), *program.flags(program.ENTRIES))).encode()).hexdigest()


if __name__ == "__main__":
    FILE.write_text(compiled().text(REMARKS), "ascii")
