"""Stores of objects: a directory, and a bucket on a real server that speaks the S3 API."""

from __future__ import annotations

import base64
import builtins
import hashlib
import os
import threading
import tracemalloc
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from rankwire.storage.archive import MOST_SEGMENT_BYTES
from rankwire.storage.objects import ObjectStore, ObjectStoreError, open_store


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "s3":
        return open_store(request.getfixturevalue("bucket"))
    (tmp_path / "some where").mkdir()
    return open_store((tmp_path / "some where" / "deep").as_uri())


def test_objects_are_put_once_and_read_listed_and_deleted(store: ObjectStore) -> None:
    assert store.list("a") == []
    assert store.get("a/one", 10) is None
    assert store.put("a/one", b"1")
    assert not store.put("a/one", b"2")
    assert store.put("a/b/two", b"")
    assert store.put("ab/three", bytes(10))
    assert store.get("a/one", 1) == b"1"
    assert store.get("a/b/two", 0) == b""
    assert list(store.list("a")) == ["a/b/two", "a/one"]
    assert list(store.list("ab")) == ["ab/three"]
    for _ in range(2):
        store.delete("a/one")
    assert list(store.list("a")) == ["a/b/two"]
    assert store.put("a/one", b"2")
    assert store.get("a/one", 1) == b"2"


def test_many_objects_are_listed_in_order(store: ObjectStore) -> None:
    names = [f"many/{number:04}" for number in range(120)]
    for name in reversed(names):
        store.put(name, b"x")
    assert list(store.list("many")) == names


def test_what_is_larger_than_it_should_be_is_refused(store: ObjectStore) -> None:
    store.put("a", bytes(1001))
    with pytest.raises(ObjectStoreError, match="a is larger than the 1,000 bytes"):
        store.get("a", 1000)


def test_reading_takes_the_memory_of_the_object(store: ObjectStore) -> None:
    """And not as much as it may have."""
    store.put("a", bytes(1000))
    tracemalloc.start()
    try:
        assert store.get("a", MOST_SEGMENT_BYTES) == bytes(1000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10_000_000


@pytest.mark.parametrize(
    "name",
    ["", "/a", "a/", "a//b", "..", "a/../../b", ".", "a/.b", "a\\b", "a\0b", "ä", "a b", "x" * 201],
)
def test_names_that_could_lead_elsewhere_are_refused(store: ObjectStore, name: str) -> None:
    for call in (
        lambda: store.put(name, b""),
        lambda: store.get(name, 1),
        lambda: store.list(name),
        lambda: store.delete(name),
    ):
        with pytest.raises(ObjectStoreError, match="is no name of an object"):
            call()


def test_of_many_that_put_one_object_one_does(store: ObjectStore) -> None:
    won: list[int] = []
    barrier = threading.Barrier(8)

    def put(number: int) -> None:
        barrier.wait()
        if store.put("contended", str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.get("contended", 10) == str(won[0]).encode()


def test_links_lead_nowhere(tmp_path: Path) -> None:
    store = open_store((tmp_path / "archive").as_uri())
    store.put("a/one", b"1")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("s")
    (tmp_path / "archive" / "out").symlink_to(tmp_path / "outside")
    (tmp_path / "archive" / "a" / "link").symlink_to(tmp_path / "outside" / "secret")
    for call in (
        lambda: store.put("out/new", b""),
        lambda: store.get("out/secret", 9),
        lambda: store.delete("out/secret"),
        lambda: store.list("out"),
    ):
        with pytest.raises(ObjectStoreError, match="leads out of"):
            call()
    with pytest.raises(ObjectStoreError, match="cannot read a/link"):
        store.get("a/link", 9)
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["secret"]


def test_a_disk_that_is_not_mounted_gets_nothing(tmp_path: Path) -> None:
    store = open_store((tmp_path / "disk" / "archive").as_uri())
    with pytest.raises(ObjectStoreError, match=r"disk is missing: mount its disk, or make it"):
        store.put("a/one", b"1")
    assert list(tmp_path.iterdir()) == []
    assert store.list("a") == []
    assert store.get("a/one", 1) is None


def test_half_a_file_is_no_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store((tmp_path / "archive").as_uri())
    store.put("a/one", b"1")

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr(os, "fsync", fail)
        with pytest.raises(ObjectStoreError, match=r"cannot write a/two in .*: No space left"):
            store.put("a/two", b"2")
    assert list(store.list("a")) == ["a/one"]
    assert store.get("a/two", 1) is None
    assert [path.name for path in (tmp_path / "archive" / "a").iterdir()] == ["one"]
    (tmp_path / "archive" / "a" / ".left.part").write_text("of a process that was killed")
    assert list(store.list("a")) == ["a/one"]
    assert (tmp_path / "archive" / "a" / "one").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "begins with 'nothing'"),
        ("ftp://host/x", "begins with 'ftp'"),
        ("file://user:secret@host/x", "write file:///absolute/path"),
        ("file:///", "write file:///absolute/path"),
        ("s3:///prefix", "names no bucket"),
        ("s3://user:secret@bucket/x", "leave keys to the environment"),
        ("s3://bucket/../x", "is no name of an object"),
        ("s3://bucket/x?acl=public", "unknown option 'acl'"),
        ("s3://bucket/x?endpoint=http://minio:9000", "has to begin with https://"),
        ("s3://bucket/x?endpoint=https://u:secret@minio", "has to begin with https://"),
    ],
)
def test_wrong_addresses_say_what_is_right(url: str, words: str) -> None:
    with pytest.raises(ObjectStoreError) as caught:
        open_store(url)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_service_is_told_a_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str | None] = []

    class Service(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            told.append(self.headers["x-amz-checksum-sha256"])
            self.send_response(200)
            self.send_header("etag", '"1"')
            self.send_header("content-length", "0")
            self.end_headers()

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "some-user")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-word")
    with HTTPServer(("127.0.0.1", 0), Service) as service:
        thread = threading.Thread(target=service.handle_request)
        thread.start()
        assert open_store(f"s3://bucket?endpoint=http://127.0.0.1:{service.server_port}").put(
            "a", b"content"
        )
        thread.join()
    assert told == [base64.b64encode(hashlib.sha256(b"content").digest()).decode()]


def test_a_bucket_that_is_not_there_says_so(bucket: str) -> None:
    store = open_store(bucket.replace("s3://b-", "s3://other-"))
    with pytest.raises(
        ObjectStoreError, match=r"cannot write a in s3://other-.*not found"
    ) as caught:
        store.put("a", b"")
    assert "the-secret-word" not in str(caught.value)


def test_a_service_that_is_away_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "some-user")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-word")
    store = open_store("s3://bucket/x?endpoint=http://127.0.0.1:9&region=eu-west-1")
    with pytest.raises(ObjectStoreError, match=r"cannot list a in s3://bucket/x: ") as caught:
        store.list("a")
    assert "the-secret-word" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def refuse(name: str, *values: Any, **more: Any) -> Any:
        if name.startswith("obstore"):
            raise ImportError(name)
        return imported(name, *values, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ObjectStoreError, match=r"pip install 'rankwire\[s3\]'"):
        open_store("s3://bucket/x")
    # A directory does without it.
    open_store("file:///somewhere")
