"""The commands for data, as a newcomer uses them, and downloads against a server of our own."""

from __future__ import annotations

import hashlib
import shlex
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from shop_export import write_shop
from typer.testing import CliRunner

from grasper.cli import app
from grasper.errors import ConfigError, DataFormatError, MissingFileError
from grasper.prepare.collections import COLLECTIONS, Download, fetch_collection
from grasper.prepare.download import download

CONTENT = bytes(range(256)) * 4096
RIGHT = hashlib.sha256(CONTENT).hexdigest()


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT with ranges; /cut breaks off in the middle, /page is HTML, /plain ignores ranges."""

    asked: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        if self.path == "/gone":
            self.send_error(404)
            return
        given = self.headers.get("Range")
        Server.asked.append(given)
        start = int(given.removeprefix("bytes=").rstrip("-")) if given and self.path != "/plain" else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "text/html" if self.path == "/page" else "application/octet-stream")
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : len(CONTENT) // 2] if self.path == "/cut" and not start else CONTENT[start:])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    Server.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_broken_download_goes_on_where_it_stopped(address: str, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.gz"
    with pytest.raises(MissingFileError, match="the same command resumes, or place the file at"):
        download(f"{address}/cut", path, sha256=RIGHT, waits=())
    assert not path.exists()
    got = path.with_name("file.gz.part").stat().st_size
    assert 0 < got < len(CONTENT)
    assert download(f"{address}/cut", path, sha256=RIGHT) == RIGHT
    assert path.read_bytes() == CONTENT
    assert Server.asked == [None, f"bytes={got}-"]
    download(f"{address}/cut", path, sha256=RIGHT)
    assert len(Server.asked) == 2  # what is there is checked, not fetched


def test_a_server_without_ranges_starts_over(address: str, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.with_name("f.part").write_bytes(b"something old")
    assert download(f"{address}/plain", path, sha256=RIGHT) == RIGHT


def test_a_finished_part_is_only_checked(address: str, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.with_name("f.part").write_bytes(CONTENT)
    assert download(f"{address}/x", path, sha256=RIGHT) == RIGHT


@pytest.mark.parametrize(
    ("route", "settings", "error", "message"),
    [
        ("/x", {"sha256": "0" * 64}, DataFormatError, "another checksum"),
        ("/x", {"size": 100}, DataFormatError, "more than the 100 bytes"),
        ("/page", {}, DataFormatError, "a web page, expected a file"),
        ("/gone", {}, MissingFileError, "answered 404; fetch it elsewhere and place it at"),
    ],
)
def test_wrong_content_leaves_nothing(
    address: str, tmp_path: Path, route: str, settings: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        download(address + route, tmp_path / "f", **settings)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_an_offline_machine_is_told_what_to_place_where(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"cannot be reached.*place the file at .*f by hand"):
        download("http://127.0.0.1:9/f", tmp_path / "f")
    with pytest.raises(MissingFileError, match=r"sign on the page.*place yelp_academic_dataset_review\.json"):
        fetch_collection(COLLECTIONS.get("yelp"), tmp_path, print)


def test_a_collection_is_fetched_and_its_checksums_told(address: str, tmp_path: Path) -> None:
    files = (Download(f"{address}/a", "a.gz", RIGHT, len(CONTENT)), Download(f"{address}/b", "b.gz"))
    told: list[str] = []
    fetch_collection(replace(COLLECTIONS.get("amazon-2023-gift-cards"), files=files), tmp_path, told.append)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gz", "b.gz"]
    assert all(RIGHT[:16] in line for line in told)


def test_list_and_info_tell_licence_size_and_use() -> None:
    runner = CliRunner()
    listed = runner.invoke(app, ["data", "list"]).output
    assert all(name in listed for name in ("harbour", "yelp", "lamp", "amazon-2023-gift-cards", "sql"))
    shown = runner.invoke(app, ["data", "info", "amazon-2023-gift-cards"]).output
    assert all(
        word in shown
        for word in (
            "licence: the project's page names none",
            "size: 152,400 reviews",
            "not checked: sizes and checksums",
            "meta_Gift_Cards.jsonl.gz",
            "prepare.source=amazon",
        )
    )
    with pytest.raises(ConfigError, match="unknown data set 'yelb'; known: yelp"):
        COLLECTIONS.get("yelb")


def test_every_data_set_says_what_was_checked_and_no_checksum_is_made_up() -> None:
    for _, collection in COLLECTIONS.items():
        assert "checked" in collection.checked or collection.name == "harbour"
        assert not any(file.sha256 or file.size for file in collection.files)  # none is published


def test_from_a_shop_export_to_prepared_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """init, then prepare, in a folder whose name means something in YAML; nothing is corrected by hand."""
    folder = tmp_path / "hot #2: [x]"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_shop(Path("reviews.csv"))
    runner = CliRunner()
    told = runner.invoke(app, ["init", "reviews.csv"])
    assert told.exit_code == 0, told.output
    assert "user_id    is read from 'Kundennr'" in told.output
    assert "grasper pipeline -c reviews.yaml --set prepare.split=none" in told.output
    prepared = runner.invoke(app, ["prepare", "-c", "reviews.yaml"], catch_exceptions=False)
    assert prepared.exit_code == 0
    assert "188" in prepared.output
    assert (folder / "runs" / "reviews" / "prepare" / "manifest.json").exists()


def test_init_replaces_nothing_and_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.csv").write_text("customer,stars\nu,5\n")
    runner = CliRunner()
    first = runner.invoke(app, ["init", "r.csv"])
    assert isinstance(first.exception, DataFormatError)
    assert "no column seems to hold item_id or text: set prepare.columns.item_id, prepare.columns.text in r.yaml" in str(first.exception)
    assert isinstance(runner.invoke(app, ["init", "r.csv"]).exception, ConfigError)


def test_data_paths_are_literal_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside `hot` and `hot #2`, the one that was named is read; `#mine` is no comment."""
    monkeypatch.chdir(tmp_path)
    header = "user_id,item_id,text,title,rating,timestamp\n"
    for name, count in (("hot", 1), ("hot #2", 2), ("#mine", 3)):
        Path(f"{name}.csv").write_text(header + "".join(f"u{n},i,text {n},t,5,\n" for n in range(count)))
    for name, count in (("hot #2", 2), ("#mine", 3)):
        options = ["--set", "prepare.source=table", "--set", "prepare.split=none", "--run", f"./{count}"]
        CliRunner().invoke(app, ["prepare", "--data", f"{name}.csv", *options], catch_exceptions=False)
        import pandas as pd

        assert len(pd.read_parquet(f"{count}/prepare/reviews.parquet")) == count


def test_a_source_from_a_plugin_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "from grasper.prepare.layouts import Layout, review_input\n"
        "from grasper.prepare.sources import SOURCES, Source, require_data\n"
        "KEYS = {'user_id': ('who',), 'item_id': ('what',), 'text': ('said',), 'title': (), 'rating': (), 'timestamp': ()}\n"
        "LAYOUT = Layout('Pages', KEYS, {})\n"
        "def find(config):\n"
        "    return [review_input(require_data(config), (LAYOUT,), config.name)]\n"
        "SOURCES.register('pages', Source('pages', 'a file of pages', find))\n"
    )
    Path("p.jsonl").write_text('{"who": 1, "what": 2, "said": "Hello."}\n')
    options = ["--set", "prepare.source=pages", "--set", "prepare.name=pages", "--set", "prepare.split=none", "--data", "p.jsonl"]
    result = CliRunner().invoke(app, ["--plugin", "mine.py", "prepare", *options], catch_exceptions=False)
    assert result.exit_code == 0
    assert Path("runs/pages/prepare/reviews.parquet").exists()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("mac.csv", b"user_id,item_id,text\ru,i,hello\r", "old Mac"),
        ("noise.csv", b"\x93\r\xbc\x10" * 90, "noise.csv has no header that can be read as CSV"),
        ("nosuch.csv", None, "nosuch.csv does not exist"),
    ],
)
def test_init_says_what_no_table_is(name: str, content: bytes | None, told: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    failed = CliRunner().invoke(app, ["init", str(tmp_path / name), "--out", str(tmp_path / "out.yaml")]).exception
    assert isinstance(failed, DataFormatError | MissingFileError)
    assert told in str(failed)


def test_proposed_commands_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_shop(Path("reviews.csv"))
    told = CliRunner().invoke(app, ["init", "reviews.csv", "--out", "my shop's.yaml"]).output
    assert [shlex.split(line)[-1] for line in told.splitlines() if "to compare" in line] == ["my shop's.yaml"]
