"""A server that asks for keys, in a process of its own: keys come and go while it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fix_access import Signer
from fix_server import NewServer, Server, until
from rankwire.storage.keys import ApiKey, SqliteKeys

_BOARD = "/v1/boards/b"


def _rankwire(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rankwire", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _create(server: Server, *words: str) -> str:
    path = ("--storage-path", str(server.directory))
    done = _rankwire("keys", "create", "--name", "x", *words, *path)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _status(server: Server, credential: str, path: str = _BOARD) -> int:
    server.credential = credential
    return server.get(path).status


def _all_that_is_kept(server: Server) -> bytes:
    said = (server.out + server.log).encode()
    return said + b"".join(file.read_bytes() for file in server.directory.iterdir())


def test_keys_are_created_and_revoked_while_the_server_runs(new_server: NewServer) -> None:
    server = new_server("--auth-mode", "keys", "--log-level", "debug").start()
    assert "access   keys: 0 API keys; others may do nothing" in server.out
    assert server.get("/v1/boards").status == 401
    key = _create(server, "--scope", "read", "--scope", "admin", "--scope", "submit")
    until(lambda: _status(server, key, "/v1/boards") == 200, "the new key to be good")
    server.create("b")
    assert server.submit("b", "ada", 3).status == 200

    reader = _create(server, "--scope", "read", "--board", "b*")
    until(lambda: _status(server, reader) == 200, "the second key to be good")
    assert server.submit("b", "ada", 4).status == 403
    assert server.get("/metrics").status == 403
    assert server.call("DELETE", _BOARD).status == 403

    # A key that a newer version has made is told of, and holds up no revocation.
    with SqliteKeys(server.directory) as store:
        store.add(ApiKey("x" * 12, "newer", b"\0" * 32, ("read", "billing"), (), 1))
    until(lambda: "degraded" in str(server.get("/readyz").json()), "a server that tells of it")
    path = ("--storage-path", str(server.directory))
    assert _rankwire("keys", "revoke", key.split("_")[1], *path).returncode == 0
    until(lambda: _status(server, key) == 401, "the revoked key to be refused")
    assert _status(server, reader) == 200
    listed = _rankwire("keys", "list", *path)
    assert key.split("_")[1] in listed.stdout
    assert server.terminate() == 0

    kept = _all_that_is_kept(server)
    for text in (key, reader):
        assert text.split("_", 2)[2].encode() not in kept

    server.restart()
    assert "access   keys: 1 API keys; others may do nothing" in server.out
    assert _status(server, key) == 401
    assert _status(server, reader) == 200


def test_commands_show_their_key(new_server: NewServer, tmp_path: Path) -> None:
    server = new_server("--auth-mode", "keys").start()
    key = _create(server, "--scope", "read", "--scope", "admin", "--scope", "submit")
    until(lambda: _status(server, key, "/v1/boards") == 200, "the new key to be good")
    rows = tmp_path / "rows.csv"
    rows.write_text("who,points\nada,3\n")
    replay = (
        "replay",
        str(rows),
        "--board",
        "b",
        "--create",
        "--member",
        "who",
        "--score",
        "points",
    )
    top = ("top", "b", "--json", "--live-url", server.live_url)
    for words in (replay, top, (*top, "--watch", "--for", "1")):
        to_server = (*words, "--url", server.url)
        refused = _rankwire(*to_server)
        assert refused.returncode == 1, words
        assert "401" in refused.stderr or "3500" in refused.stderr, words
        done = _rankwire(*to_server, "--key", key)
        assert done.returncode == 0, done.stderr
        assert words is replay or '"member":"ada","score":3' in done.stdout


def test_token_keys_are_exchanged_while_the_server_runs(
    new_server: NewServer, tmp_path: Path
) -> None:
    old, new = Signer("old"), Signer("new")
    file = tmp_path / "players.jwks"
    file.write_bytes(old.jwks())
    flags = ("--auth-mode", "keys", "--auth-tokens", str(file), "--log-level", "debug")
    server = new_server(*flags).start()
    first, second = old.token(), new.token()
    # Good tokens of players, for a board that is not there.
    assert _status(server, first) == 404
    assert _status(server, second) == 401
    file.write_bytes(new.jwks())
    until(lambda: _status(server, second) == 404, "the new key to be good")
    assert _status(server, first) == 401

    file.write_bytes(b"{")
    until(lambda: "keys not read" in server.log, "a word about the broken file")
    assert _status(server, second) == 404
    server.terminate()
    kept = _all_that_is_kept(server)
    for token in (first, second):
        assert token.encode() not in kept
        assert token.rsplit(".", 1)[-1].encode() not in kept


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            ("--http-host", "0.0.0.0"),
            "other machines reach http.host 0.0.0.0, and auth.mode is open: everybody there could",
        ),
        (("--live-host", "::"), "other machines reach live.host ::, and auth.mode is open"),
        (
            ("--live-host", "0.0.0.0", "--auth-mode", "keys", "--auth-anonymous", "read"),
            "other machines reach live.host 0.0.0.0, and nobody could do anything there",
        ),
        (
            ("--auth-mode", "keys", "--auth-tokens", "/nowhere/players.jwks"),
            "auth.tokens: /nowhere/players.jwks: ",
        ),
        (("--live-origins", "example.com"), 'live.origins: "example.com" is not an origin like '),
    ],
)
def test_servers_that_must_not_start(
    new_server: NewServer, flags: tuple[str, ...], words: str
) -> None:
    server = new_server(*flags).spawn()
    assert server.wait() == 2
    assert server.log.startswith(words)
    assert server.out == ""
    if "open" in words:
        assert not server.directory.exists()


def test_the_mode_open_is_announced(server: Server) -> None:
    assert "access   open: everybody may do everything" in server.out
