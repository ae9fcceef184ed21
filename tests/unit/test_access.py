"""Which servers may start, and how what they know of keys stays fresh."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from fix_access import Signer, jwks
from fix_server import until
from rankwire import _core, access
from rankwire.access import AccessError, Guard, is_loopback, refusal
from rankwire.cli import main
from rankwire.settings import Auth, Http, Live, Settings, Storage
from rankwire.storage.keys import ApiKey, SqliteKeys


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("::1", True),
        ("localhost", True),
        ("LocalHost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("128.0.0.1", False),
        ("::2", False),
        ("example.com", False),
        ("localhost.example.com", False),
        ("127.1", False),
        ("", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize("mode", ["open", "keys"])
@pytest.mark.parametrize("knows_anybody", [False, True])
@pytest.mark.parametrize("http", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("live", ["localhost", "::"])
def test_which_servers_may_start(mode: str, knows_anybody: bool, http: str, live: str) -> None:
    settings = Settings(
        http=Http(host=http),
        live=Live(host=live),
        auth=Auth(mode=mode),  # type: ignore[arg-type]
        storage=Storage(path=Path("my data")),
    )
    words = refusal(settings, knows_anybody=knows_anybody)
    exposed = [
        f"{name} {host}"
        for name, host in (("http.host", http), ("live.host", live))
        if host in {"0.0.0.0", "::"}
    ]
    if not exposed or (mode == "keys" and knows_anybody):
        assert words is None
        return
    assert words is not None
    why, way_out = words
    assert why.startswith(f"other machines reach {' and '.join(exposed)}")
    assert f"auth.mode is {mode}" in why
    assert "--storage-path 'my data'" in way_out
    assert ("rankwire serve --auth-mode keys" in way_out) == (mode == "open")


def test_the_command_of_a_refusal_makes_the_server_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    auth, directory = Auth(mode="keys"), tmp_path / "my data"
    settings = Settings(http=Http(host="0.0.0.0"), auth=auth, storage=Storage(path=directory))
    words = refusal(settings, knows_anybody=False)
    assert words is not None
    _, way_out = words
    (command,) = [line for line in way_out.splitlines() if line.startswith("  rankwire keys")]
    done = CliRunner().invoke(main, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output
    guard = Guard(auth, Storage(path=directory))
    assert refusal(settings, knows_anybody=guard.access.knows_anybody()) is None
    guard.stop()


# Freshness.


@pytest.fixture
def new_guard(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Guard]]:
    """Make guards that look often."""
    monkeypatch.setattr(access, "_LOOK_SECONDS", 0.01)
    guards: list[Guard] = []

    def make(**auth: str) -> Guard:
        guards.append(Guard(Auth(mode="keys", **auth), Storage(path=directory)))  # type: ignore[arg-type]
        guards[-1].start()
        return guards[-1]

    yield make
    for guard in guards:
        guard.stop()


def _is_known(guard: Guard, credential: str) -> bool:
    try:
        guard.access.identify(credential)
    except _core.UnauthorizedError:
        return False
    return True


def _add(store: SqliteKeys, key_id: str = "", *scopes: str) -> str:
    text, new_id, digest = _core.Access.new_key()
    store.add(ApiKey(key_id or new_id, "x", digest, scopes or ("read",), (), 1))
    return text


def test_keys_come_and_go_while_the_server_runs(
    directory: Path, new_guard: Callable[..., Guard]
) -> None:
    with SqliteKeys(directory) as store:
        first = _add(store)
        guard = new_guard()
        assert _is_known(guard, first)
        assert guard.describe() == "keys: 1 API keys; others may do nothing"
        second = _add(store)
        until(lambda: _is_known(guard, second), "the new key to be known")
        store.revoke(first.split("_")[1], 2)
        until(lambda: not _is_known(guard, first), "the revoked key to be unknown")
        assert _is_known(guard, second)


def test_revoked_keys_stay_so_after_a_restart(
    directory: Path, new_guard: Callable[..., Guard]
) -> None:
    with SqliteKeys(directory) as store:
        key = _add(store)
        store.revoke(key.split("_")[1], 2)
    guard = new_guard()
    assert not _is_known(guard, key)
    assert not guard.access.knows_anybody()


def test_a_key_that_makes_no_sense_here_changes_nothing_for_the_others(
    directory: Path, new_guard: Callable[..., Guard], capsys: pytest.CaptureFixture[str]
) -> None:
    """As when a region with a newer version has made it: no revocation may wait for that."""
    said: list[str] = []
    with SqliteKeys(directory) as store:
        odd = [_add(store, "x" * 12, "emperor")]
        store.add(ApiKey("y" * 12, "x", b"short", ("read",), (), 1))
        good = _add(store)
        guard = new_guard()
        assert [_is_known(guard, key) for key in (*odd, good)] == [False, True]
        assert guard.describe() == "keys: 1 API keys; others may do nothing"
        assert guard.troubles == ["2 API keys make no sense here, the log names them"]
        store.revoke(good.split("_")[1], 2)
        until(lambda: not _is_known(guard, good), "the revoked key to be unknown")
        later = _add(store)
        until(lambda: _is_known(guard, later), "the new key to be known")
        assert _heard(capsys, said).count("API key left out") == 2
        for key_id in ("x" * 12, "y" * 12):
            store.revoke(key_id, 3)
        until(lambda: not guard.troubles, "a guard without troubles")
    assert _heard(capsys, said).count("API key left out") == 2


def test_token_keys_are_exchanged_while_the_server_runs(
    tmp_path: Path, new_guard: Callable[..., Guard]
) -> None:
    old, new = Signer("old"), Signer("new")
    file = tmp_path / "players.jwks"
    file.write_bytes(old.jwks())
    guard = new_guard(tokens=str(file), anonymous="read")
    assert guard.describe() == "keys: 0 API keys, 1 token keys; others may read"
    assert _is_known(guard, old.token())
    assert not _is_known(guard, new.token())
    file.write_bytes(jwks(old, new))
    until(lambda: _is_known(guard, new.token()), "the new token key")
    assert _is_known(guard, old.token())
    # As careful people write files.
    other = tmp_path / "other"
    other.write_bytes(new.jwks())
    other.rename(file)
    until(lambda: not _is_known(guard, old.token()), "the old token key to be forgotten")
    assert _is_known(guard, new.token())


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What grows with every look at the token keys."""
    seen: list[object] = []
    look = access._TokenKeys.look  # noqa: SLF001

    def watched(source: access._TokenKeys) -> bool:
        seen.append(source)
        return look(source)

    monkeypatch.setattr(access._TokenKeys, "look", watched)  # noqa: SLF001
    return seen


@pytest.mark.parametrize("content", [b"", b"{", b'{"keys":[{"kty":"RSA"}]}', b" " * 200_000, None])
def test_a_broken_jwks_is_an_error_at_first_and_changes_nothing_later(
    tmp_path: Path,
    new_guard: Callable[..., Guard],
    looks: list[object],
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
) -> None:
    file = tmp_path / "players.jwks"

    def write() -> None:
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)

    write()
    with pytest.raises(AccessError, match=rf"auth\.tokens: {file}: "):
        new_guard(tokens=str(file))
    signer, later = Signer(), Signer("later")
    file.write_bytes(signer.jwks())
    guard = new_guard(tokens=str(file))
    write()
    said: list[str] = []
    until(lambda: _heard(capsys, said).count("keys not read") >= 1, "a line in the log")
    before = len(looks)
    until(lambda: len(looks) > before + 3, "more looks")
    assert _is_known(guard, signer.token())
    # It was said once, and whatever is right again counts.
    file.write_bytes(jwks(signer, later))
    until(lambda: _is_known(guard, later.token()), "the file to be read")
    assert _heard(capsys, said).count("keys not read") == 1


def _heard(capsys: pytest.CaptureFixture[str], said: list[str]) -> str:
    said.append("".join(capsys.readouterr()))
    return "".join(said)


def test_mode_open_reads_and_makes_nothing(directory: Path) -> None:
    guard = Guard(Auth(tokens="/nowhere"), Storage(path=directory))
    guard.start()
    assert guard.describe() == "open: everybody may do everything"
    assert _is_known(guard, "x")
    guard.stop()
    assert not directory.exists()


def test_one_look_that_fails_does_not_end_the_looking(
    directory: Path, new_guard: Callable[..., Guard], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the thread, revoked keys would stay good for ever."""
    guard = new_guard()
    failed: list[str] = []

    def fail(_: SqliteKeys) -> bool:
        failed.append("x")
        raise RuntimeError("on purpose")

    with monkeypatch.context() as context, SqliteKeys(directory) as store:
        context.setattr(SqliteKeys, "changed", fail)
        until(lambda: len(failed) > 1, "two looks")
        assert guard.troubles == ["API keys are not read: on purpose"]
        key = _add(store)
    until(lambda: _is_known(guard, key), "the new key")
    until(lambda: not guard.troubles, "a guard without troubles")
