"""Under load, too, both probes see what tcpdump's file holds, to the request: small responses as fast as nginx can, downloads."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.bench.served import BULK_PORT, PORT, Served
from tests.live.beside import PROBES, Beside, essence


@pytest.mark.parametrize("bulk", [False, True], ids=["small responses", "downloads"])
def test_live_is_what_the_capture_says_under_load(bulk: bool, root: None, tmp_path: Path) -> None:
    missing = [name for name in ("ip", "tcpdump", "nginx", "wrk") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    tmp_path.chmod(0o755)
    served = Served(tmp_path, 1)
    with served.running():
        watched = Beside(served.server, "eth0", tmp_path / "load.pcap", expression="tcp")
        # Downloads one at a time: tcpdump has to write them down.
        load = served.load(bulk=bulk, pause_ms=100 * bulk, connections=1 if bulk else 8)
        try:
            watched.finish()
        except RuntimeError as why:
            pytest.skip(f"tcpdump itself could not keep up here: {why}")
    expected = essence(watched.verdicts["file"])
    (service,) = expected["services"].values()
    (target,) = service["targets"].values()
    port = BULK_PORT if bulk else PORT
    assert list(service["targets"]) == [f"10.77.0.1:{port}"] and target["requests"] > 0
    for probe in PROBES:
        if watched.verdicts[probe]["source"]["dropped_packets"]:
            pytest.skip(f"--probe {probe} dropped packets, and said so: this machine is too busy")
        found = essence(watched.verdicts[probe])
        assert found == expected
    print(f"{expected['decoded']:,} packets at {load.packets_per_s:,.0f} a second, {target['requests']:,} requests, equal")
