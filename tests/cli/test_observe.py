"""Observations leave as rows, in order, with nothing in them that identifies a person or a secret."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from lbtop.cli import main
from lbtop.faces.observe import COLUMNS, KINDS, NUMBER, SECONDS, TEXT, TEXTS, Values, columns_of, rows
from lbtop.model.observation import TABLES, SecretKind
from lbtop.testing import Traffic
from tests.corpus import CAPTURES

SECRET = "kT9-topsecret-7Qx"


def shop() -> Traffic:
    traffic = Traffic()
    for client in ("203.0.113.1", "203.0.113.2"):
        connection = traffic.connect(client, "10.0.0.11:8080")
        connection.request(
            "POST", f"/pay;jsessionid={SECRET}", cookies={"session": SECRET}, forwarded=["198.51.100.9"], proto="https"
        )
        connection.secret(SecretKind.PASSWORD, SECRET)
        connection.respond(set_cookies={"session": SECRET})
        connection.close()
    return traffic


def written(traffic: Traffic, rows_each: int | None = None) -> list[dict[str, object]]:
    values = Values()
    return [row for batch in traffic.batches(rows_each) for row in rows(batch, values)]


def test_every_table_has_columns_and_a_word() -> None:
    assert set(KINDS) == set(COLUMNS) == set(TABLES)
    assert len(set(KINDS.values())) == len(KINDS)


def test_rows_come_in_the_order_in_which_things_were_seen() -> None:
    seqs = [row["seq"] for row in written(shop())]
    assert seqs == sorted(seqs)
    assert len(seqs) == len(set(seqs))


def test_batches_change_nothing() -> None:
    assert written(shop()) == written(shop(), 1) == written(shop(), 3)


def test_equal_secrets_get_equal_small_numbers_and_nothing_else() -> None:
    found = written(shop())
    cookies = [row["value"] for row in found if row["kind"] == "cookie"]
    assert set(cookies) == {1}
    text = json.dumps(found)
    assert SECRET not in text
    assert all(int(str(row["value"])) < 10 for row in found if "value" in row)


def test_a_path_leaves_without_its_parameters() -> None:
    assert {row["path"] for row in written(shop()) if row["kind"] == "request"} == {"/pay"}


def test_a_method_that_nobody_registered_is_not_repeated() -> None:
    traffic = Traffic()
    traffic.connect("203.0.113.1", "10.0.0.11:8080").request("X" + SECRET, "/")
    assert [row["method"] for row in written(traffic) if row["kind"] == "request"] == ["other"]


def test_control_codes_leave_escaped() -> None:
    traffic = Traffic()
    traffic.connect("203.0.113.1", "10.0.0.11:8080").request("GET", "/\x1b[31m\u202e", host="[red]\x07")
    assert "\x1b" not in str(written(traffic)) and "\\x1b" in str(written(traffic))


def test_kinds_are_chosen() -> None:
    values = Values()
    found = [row for batch in shop().batches() for row in rows(batch, values, frozenset({"requests"}))]
    assert {row["kind"] for row in found} == {"request"}


@pytest.mark.parametrize("table", sorted(COLUMNS))
def test_columns_hold_what_they_say(table: str) -> None:
    kinds: dict[str, tuple[type, ...]] = {TEXT: (str,), NUMBER: (int,), SECONDS: (float, int), TEXTS: (list,)}
    types = columns_of({table})
    for row in written(shop()):
        if row["kind"] == KINDS[table]:
            assert set(row) == set(types)
            assert all(value is None or isinstance(value, kinds[types[name]]) for name, value in row.items()), row


def test_parquet_holds_what_ndjson_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Read back with pyarrow: the same rows in the same order, with types that need no guessing."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    capture, file = str(CAPTURES / "offload-lb-cookie-targets.pcap.gz"), tmp_path / "x.parquet"
    assert main(["observe", capture, "--format", "parquet", "-o", str(file)]) == 0
    assert main(["observe", capture]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    table = parquet.read_table(file)
    stored = [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]
    assert stored == [{name: value for name, value in row.items() if value is not None} for row in told]
    types = {field.name: str(field.type) for field in table.schema}
    assert {"seq": "int64", "delay_s": "double", "path": "string"}.items() <= types.items()
    assert types["flags"].startswith("list<") and set(types) == set(columns_of(frozenset(KINDS)))


def test_parquet_of_one_kind_of_nothing_and_of_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    capture, file = str(CAPTURES / "offload-lb-cookie-targets.pcap.gz"), tmp_path / "x.parquet"
    assert main(["observe", capture, "--kind", "proxy_header", "--format", "parquet", "-o", str(file)]) == 0
    table = parquet.read_table(file)
    assert table.num_rows == 0 and "authority" in table.column_names and "path" not in table.column_names
    before = file.read_bytes()
    assert main(["observe", str(tmp_path / "none.pcap"), "--format", "parquet", "-o", str(file)]) == 2
    assert file.read_bytes() == before, "unusable input must not empty a file that is there"
    assert main(["observe", capture, "--format", "parquet"]) == 2 and "-o" in capsys.readouterr().err


def test_without_pyarrow_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    capture = str(CAPTURES / "offload-lb-cookie-targets.pcap.gz")
    assert main(["observe", capture, "--format", "parquet", "-o", str(tmp_path / "x")]) == 2
    assert "pip install 'lbtop[parquet]'" in capsys.readouterr().err and not (tmp_path / "x").exists()
