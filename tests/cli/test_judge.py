"""Exit statuses: what was expected, what is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbtop.cli import judge
from lbtop.cli.command import signed_values
from lbtop.cli.moments import Anchor, Moment, duration_ns, moment
from lbtop.cli.reading import capture_files, names
from lbtop.model.errors import LbtopError
from tests.cli import frames

KNOWN = ("hot-target", "weak-tls")


@pytest.mark.parametrize(
    ("text", "misses"),
    [
        ("termination=offload,mechanism=lb_cookie,service=shop.example.com", 0),
        ("termination=bridging,service=shop.example.com", 1),
        ("termination=offload", 1),  # the second service is bridging
        ("mechanism=unknown,service=api.example.com", 0),
        ("termination=offload,service=nobody", 1),
    ],
)
def test_expectations(text: str, misses: int) -> None:
    assert len(judge.expectation(text).misses(frames.busy())) == misses


def test_nothing_in_view_misses_an_expectation() -> None:
    assert judge.expectation("termination=offload").misses(frames.empty()) == ["expected a service, found none"]


@pytest.mark.parametrize(
    "text", ["", "offload", "termination=", "termination=edge", "mechanism=sticky", "colour=red", "service=x"]
)
def test_wrong_expectations_are_one_clear_line(text: str) -> None:
    with pytest.raises(LbtopError) as error:
        judge.expectation(text)
    assert "\n" not in str(error.value)


def test_acceptances_from_arguments_and_files(tmp_path: Path) -> None:
    file = tmp_path / "accepted"
    file.write_text("# known\nweak-tls@shop  # until May\n\nhot-target\n")
    assert judge.acceptances(["hot-target@a:8080", str(file)], KNOWN) == ["hot-target@a:8080", "weak-tls@shop", "hot-target"]


def test_an_unknown_acceptance_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "accepted"
    file.write_text("hot-target\nhotter-target\n")
    for argument in ("no-such-finding", str(file)):
        with pytest.raises(LbtopError):
            judge.acceptances([argument], KNOWN)


def test_status() -> None:
    assert judge.raises_status(frames.busy())
    assert not judge.raises_status(frames.unknown())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+30s", Moment(Anchor.START, 30_000_000_000)),
        ("+1h30m", Moment(Anchor.START, 5_400_000_000_000)),
        ("-5m", Moment(Anchor.END, -300_000_000_000)),
        ("-250ms", Moment(Anchor.END, -250_000_000)),
        ("1970-01-01T00:00:01Z", Moment(Anchor.EPOCH, 1_000_000_000)),
        ("1970-01-01T01:00:01+01:00", Moment(Anchor.EPOCH, 1_000_000_000)),
        ("1970-01-02", Moment(Anchor.EPOCH, 86_400_000_000_000)),
        ("9:05", Moment(Anchor.DAY, 32_700_000_000_000)),
        ("14:05:30.5", Moment(Anchor.DAY, 50_730_500_000_000)),
    ],
)
def test_moments(text: str, expected: Moment) -> None:
    assert moment(text) == expected


def test_a_moment_lies_on_the_capture() -> None:
    started, ended = 90_000_000_000_000, 90_060_000_000_000
    assert moment("+30s").at(started, ended) == started + 30_000_000_000
    assert moment("-10s").at(started, ended) == ended - 10_000_000_000
    assert moment("01:00").at(started, ended) == 86_400_000_000_000 + 3_600_000_000_000
    assert moment("1970-01-01T00:00:00.000001Z").at(started, ended) == 1000


@pytest.mark.parametrize("text", ["", "now", "25:00", "+", "-x", "+5 m", "2026-13-01"])
def test_wrong_moments(text: str) -> None:
    with pytest.raises(LbtopError):
        moment(text)


def test_durations() -> None:
    assert duration_ns("90") == 90_000_000_000
    with pytest.raises(LbtopError):
        duration_ns("soon")


def test_values_that_begin_with_a_dash() -> None:
    assert signed_values(["x", "--since", "-5m", "--until", "-10s", "-"]) == ["x", "--since=-5m", "--until=-10s", "-"]
    assert signed_values(["--since", "--json"]) == ["--since", "--json"]


def test_names(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n10.0.0.11\tweb1 web1.example # first\n\nfe80::1%lo0 link\n")
    assert names(["10.0.0.11=front=1", "2001:0db8::1=six"], [str(hosts)]) == {
        "127.0.0.1": "localhost", "10.0.0.11": "front=1", "fe80::1": "link", "2001:db8::1": "six",
    }  # fmt: skip


@pytest.mark.parametrize("pair", ["10.0.0.11", "10.0.0.11=", "=web1", "web1=10.0.0.11"])
def test_wrong_names(pair: str) -> None:
    with pytest.raises(LbtopError):
        names([pair], [])


def test_rotated_sets_in_the_order_they_were_written(tmp_path: Path) -> None:
    for i in (10, 2, 0):
        (tmp_path / f"x.pcap{i}").touch()
    assert [Path(name).name for name in capture_files([str(tmp_path / "x.pcap*")])] == ["x.pcap0", "x.pcap2", "x.pcap10"]
    with pytest.raises(LbtopError):
        capture_files([str(tmp_path / "y*")])


def test_a_name_with_brackets_is_a_name(tmp_path: Path) -> None:
    (tmp_path / "x[1].pcap").touch()
    assert capture_files([str(tmp_path / "x[1].pcap")]) == [str(tmp_path / "x[1].pcap")]
