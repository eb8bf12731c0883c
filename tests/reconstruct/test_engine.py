"""The engine: to the end, interrupted, frame by frame, and with what the operator knows better."""

from __future__ import annotations

from itertools import pairwise

import pytest

from lbtop.engine import Options, diagnose, frames, live_snapshots, snapshots
from lbtop.model.errors import LbtopError
from lbtop.model.observation import Batch, Rows, SourceStats
from lbtop.model.snapshot import Snapshot
from lbtop.reconstruct import reconstructor
from lbtop.reconstruct.ledgers import targets
from lbtop.testing import ListSource, Traffic
from tests.reconstruct.scenes import BALANCER, SCENES, TARGETS


def counts(snapshot: Snapshot) -> list[tuple[str, int, int | None]]:
    return [(t.target, t.connections, t.requests) for service in snapshot.services for t in service.targets]


def three_targets() -> Traffic:
    return SCENES["three_targets_and_two_replicas"]()[0]


def test_frames_lead_to_the_diagnosis() -> None:
    """Frames count up in capture time; the last one is final and says what a diagnosis says."""
    whole = diagnose(three_targets().source())
    seen = list(frames(three_targets().source(20), 20, Options(detail=True)))
    assert 10 <= len(seen) <= 60
    assert [frame.final for frame in seen] == [False] * (len(seen) - 1) + [True]
    assert counts(seen[-1]) == counts(whole)
    totals = [sum(requests or 0 for _, _, requests in counts(frame)) for frame in seen]
    assert totals == sorted(totals)
    assert all(service.detail is not None for service in seen[-1].services)
    assert all(service.detail is None for service in whole.services)


def test_frames_of_an_input_longer_than_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking in the middle of a window copies what was folded before it, all of it."""
    monkeypatch.setattr(reconstructor, "WINDOW_ROWS", 64)
    seen = list(frames(three_targets().source(20), 20, Options(detail=True)))
    assert len(seen) >= 10 and counts(seen[-1]) == counts(diagnose(three_targets().source()))


def test_a_frame_is_taken_when_its_time_has_come() -> None:
    """Two seconds of traffic between two frames, or the end of the batch in which they passed."""
    source = three_targets().source(10)
    engine_frames = list(snapshots(source, 2_000_000_000))
    assert 3 <= len(engine_frames) <= 6


def test_a_stopped_reader_gives_a_last_frame() -> None:
    asked = iter([False, False, False])
    seen = list(frames(three_targets().source(40), 20, stop=lambda: next(asked, True)))
    assert seen and not seen[-1].final


class Interrupted(ListSource):
    """Ctrl-C in the middle of reading."""

    def poll(self, timeout_s: float = 0.0) -> Batch | None:
        if len(self._batches) <= 5:
            raise KeyboardInterrupt
        return super().poll(timeout_s)

    def live(self) -> Rows:
        return super().live()

    def stats(self) -> SourceStats:
        return super().stats()


def test_an_interrupt_gives_the_verdict_on_what_was_read() -> None:
    traffic = three_targets()
    source = Interrupted(traffic.batches(50), traffic.source().stats())
    snapshot = diagnose(source)
    assert not snapshot.final
    assert [target for target, _, _ in counts(snapshot)] == [f"{target}:8080" for target in TARGETS]


def test_addresses_that_are_not_told_apart_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert diagnose(three_targets().source()).source.caps_reached == ()
    monkeypatch.setattr(targets, "MAX_CLIENTS", 4)
    said = diagnose(three_targets().source()).source.caps_reached
    assert said == ("4 client addresses told apart at the targets",)


def test_the_operator_names_the_target() -> None:
    traffic = SCENES["direct_server_with_a_microservice"]()[0]
    snapshot = diagnose(traffic.source(), Options(targets=("10.0.0.30:9000",)))
    assert [target for target, _, _ in counts(snapshot)] == ["10.0.0.30:9000"]


def test_the_operator_names_the_balancer() -> None:
    """Strangers become front and back when the operator says that the one is a balancer."""
    traffic = SCENES["strangers_in_one_mirror"]()[0]
    (service,) = diagnose(traffic.source(), Options(balancers=("10.0.7.1", BALANCER))).services
    assert service.service == "10.0.7.1:443"
    assert service.load_balancer.addresses
    assert [target.target for target in service.targets] == [f"{target}:8080" for target in TARGETS]


def test_the_operator_names_the_vantage() -> None:
    snapshot = diagnose(three_targets().source(), Options(vantage="load_balancer", names={"10.0.0.11": "web1"}))
    assert snapshot.source.vantage == "load_balancer"
    assert [target.name for target in snapshot.services[0].targets] == ["web1", None, None]


@pytest.mark.parametrize("options", [Options(vantage="moon"), Options(targets=("web1",)), Options(balancers=("10.0.0.1:http",))])
def test_what_cannot_be_used_is_said_at_once(options: Options) -> None:
    with pytest.raises(LbtopError):
        diagnose(three_targets().source(), options)


def test_an_input_without_rows_gives_an_empty_snapshot() -> None:
    snapshot = diagnose(Traffic().source())
    assert snapshot.services == () and snapshot.source.vantage == "unknown" and snapshot.final


class Quiet(ListSource):
    """Live: a batch now and then, nothing in between."""

    polls = 0

    def poll(self, timeout_s: float = 0.0) -> Batch | None:
        self.polls += 1
        return super().poll(timeout_s) if self.polls % 4 == 0 else None


def test_time_goes_on_when_nothing_arrives() -> None:
    """The clock ticks a tenth of the cadence a call; every tick of the cadence has its frame, quiet or not."""
    traffic = three_targets()
    batches = traffic.batches(200)
    ticks = iter(range(traffic.start_ns, traffic.start_ns + 10**12, 50_000_000))
    seen = list(live_snapshots(Quiet(batches, traffic.source().stats()), 500_000_000, clock=lambda: next(ticks)))
    assert len(seen) >= len(batches) / 2
    moments = [frame.at_ns for frame in seen[:-1]]
    assert all(later - earlier >= 500_000_000 for earlier, later in pairwise(moments))
    assert seen[-1].final


def test_a_live_reader_can_be_stopped() -> None:
    traffic = three_targets()
    asked = iter([False] * 3)
    seen = list(live_snapshots(Quiet(traffic.batches(200), traffic.source().stats()), 10**9, stop=lambda: next(asked, True)))
    assert len(seen) == 1 and not seen[0].final
