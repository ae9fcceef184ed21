"""The commands that make keys and tokens, without a server."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fix_postgres import Database
from rankwire import _core
from rankwire.cli import main
from rankwire.storage.keys import ApiKey, SqliteKeys
from rankwire.storage.keys_postgres import PostgresKeys


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _run(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == code, done.output
    return done


def _stored(directory: str = "rankwire-data") -> list[ApiKey]:
    with SqliteKeys(Path(directory)) as store:
        return store.all()


def _knows(key: ApiKey, text: str) -> bool:
    access = _core.Access("keys", False, "", "", 0, 0)
    access.set_keys([(key.id, key.hash, key.scopes, key.boards)])
    try:
        return access.identify(text).name == key.id
    except _core.UnauthorizedError:
        return False


def test_a_key_is_printed_alone_and_once() -> None:
    words = ["keys", "create", "--name", "game", "--scope", "submit", "--scope", "read"]
    boards = ["--board", "season-*", "--board", "cup", "--board", "cup"]
    done = _run(*words, *boards)
    (key,) = _stored()
    text = done.stdout.removesuffix("\n")
    assert _knows(key, text)
    assert (key.name, key.scopes, key.boards) == ("game", ("read", "submit"), ("season-*", "cup"))
    secret = text.split("_", 2)[2]
    assert secret not in done.stderr
    assert f"Key {key.id} for game: read, submit on boards season-*, cup." in done.stderr
    assert "set auth.mode to keys" in done.stderr
    for file in Path("rankwire-data").iterdir():
        assert secret.encode() not in file.read_bytes()


def test_keys_go_where_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["keys", "create", "--name", "x", "--scope", "admin"]
    done = _run(*words, "--storage-path", "here")
    assert len(_stored("here")) == 1
    assert "on all boards" in done.stderr
    Path("rankwire.toml").write_text("[storage]\npath = 'there'\n[auth]\nmode = 'keys'\n")
    assert "auth.mode" not in _run(*words).stderr
    assert len(_stored("there")) == 1
    monkeypatch.setenv("RANKWIRE_STORAGE_PATH", "elsewhere")
    _run(*words)
    assert len(_stored("elsewhere")) == 1


def test_keys_are_listed_and_revoked() -> None:
    for name in ("one", "[b]two[/b]"):
        _run("keys", "create", "--name", name, "--scope", "read")
    one, two = _stored()
    done = _run("keys", "revoke", two.id)
    assert done.stdout == f"Key {two.id} is revoked.\n"
    assert _run("keys", "revoke", two.id).stdout == f"Key {two.id} was revoked already.\n"
    nobody = _run("keys", "revoke", "nobody", code=1)
    assert nobody.stderr == "Error: there is no key 'nobody'; 'rankwire keys list' lists them\n"
    shown = _run("keys", "list").stdout
    assert all(word in shown for word in (one.id, two.id, "one", "[b]two[/b]", "all", "read"))
    listed = json.loads(_run("keys", "list", "--json").stdout)
    assert [(key["id"], key["revoked"] is None) for key in listed] == [
        (one.id, True),
        (two.id, False),
    ]
    assert "hash" not in listed[0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["create", "--scope", "read"], "Missing option '--name'"),
        (["create", "--name", "x"], "Missing option '--scope'"),
        (["create", "--name", "", "--scope", "read"], "a name has 1 to 64 printable characters"),
        (["create", "--name", "a\nb", "--scope", "read"], "printable"),
        (["create", "--name", "x" * 65, "--scope", "read"], "printable"),
        (["create", "--name", "x", "--scope", "root"], "'root' is not one of"),
        (["create", "--name", "x", "--scope", "read", "--board", "a*b"], "'a*b' is neither"),
        (["create", "--name", "x", "--scope", "read", "--board", "a b"], "'a b' is neither"),
        (["create", "--name", "x", "--scope", "read", "--board", ""], "'' is neither"),
        (["revoke"], "Missing argument 'ID'"),
    ],
)
def test_wrong_usage_makes_no_key(words: list[str], expected: str) -> None:
    assert expected in _run("keys", *words, code=2).stderr
    assert not Path("rankwire-data").exists()


@pytest.mark.parametrize("pattern", ["*", "a*", "A.b_c-9", "x" * 64, "x" * 64 + "*"])
def test_every_pattern_that_can_be_given_is_one_for_the_core(pattern: str) -> None:
    _run("keys", "create", "--name", "x", "--scope", "read", "--board", pattern)
    (key,) = _stored()
    _core.Access("keys", False, "", "", 0, 0).set_keys([(key.id, key.hash, key.scopes, key.boards)])


def test_a_storage_that_cannot_be_used_is_named() -> None:
    Path("file").touch()
    create = ["keys", "create", "--name", "x", "--scope", "read"]
    done = _run(*create, "--storage-path", "file", code=1)
    assert done.stderr.startswith("Error: cannot open the API keys in file/keys.sqlite: ")
    assert done.stdout == ""


def test_a_directory_without_keys_stays_so() -> None:
    for words in (["list"], ["revoke", "x"]):
        done = _run("keys", *words, "--storage-path", "wrong", code=1)
        expected = f"Error: there are no keys in {Path('wrong').resolve()}; name the server's"
        assert done.stderr.startswith(expected)
    assert not Path("wrong").exists()


def test_keys_of_nodes_stand_in_their_database(postgres: Database) -> None:
    create = ["keys", "create", "--name", "game", "--scope", "read"]
    done = _run(*create, "--storage-url", postgres.url)
    assert f"Its hash is in {postgres.url}, the key nowhere" in done.stderr
    with PostgresKeys(postgres.url) as store:
        (key,) = store.all()
    assert _knows(key, done.stdout.strip())
    assert key.id in _run("keys", "list", "--storage-url", postgres.url).stdout
    _run("keys", "revoke", key.id, "--storage-url", postgres.url)
    with PostgresKeys(postgres.url) as store:
        assert store.all()[0].revoked_ms is not None
    assert not Path("rankwire-data").exists()
    away = "postgresql://me:secret@127.0.0.1:1/x"
    done = _run(*create, "--storage-url", away, code=1)
    assert done.stderr.startswith("Error: cannot open the API keys in postgresql://me:***@")


def _mode(file: str) -> int:
    return stat.S_IMODE(Path(file).stat().st_mode)


@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "HS256"])
def test_a_token_of_a_new_key_is_good(alg: str) -> None:
    _run("tokens", "keygen", "--alg", alg, "--private", "login.jwk", "--jwks", "players.jwks")
    assert _mode("login.jwk") == 0o600
    assert _mode("players.jwks") & 0o077 == (0 if alg == "HS256" else 0o044)
    private = json.loads(Path("login.jwk").read_bytes())
    (public,) = json.loads(Path("players.jwks").read_bytes())["keys"]
    if alg != "HS256":
        assert public.keys() == private.keys() - {"d"}

    access = _core.Access("keys", False, "arcade", "login", 0, 0)
    assert access.set_token_keys(Path("players.jwks").read_bytes()) == 1
    issue = ["tokens", "issue", "--key", "login.jwk", "--member", "Ada Ä"]
    token = _run(*issue, "--auth-audience", "arcade", "--auth-issuer", "login").stdout
    caller = access.identify(token.strip())
    assert (caller.kind, caller.member) == ("player", "Ada Ä")
    access.check(caller, "submit", "any", "Ada Ä", True)
    with pytest.raises(_core.UnauthorizedError):
        access.identify(_run(*issue).stdout.strip())


def test_a_token_can_be_narrow_and_short() -> None:
    _run("tokens", "keygen", "--private", "login.jwk", "--jwks", "players.jwks")
    access = _core.Access("keys", False, "", "", 0, 0)
    access.set_token_keys(Path("players.jwks").read_bytes())
    issue = ["tokens", "issue", "--key", "login.jwk", "--member", "ada"]
    token = _run(*issue, "--scope", "read", "--board", "cup-*").stdout.strip()
    caller = access.identify(token)
    access.check(caller, "read", "cup-1")
    for action, board in (("read", "arcade"), ("submit", "cup-1")):
        with pytest.raises(_core.ForbiddenError):
            access.check(caller, action, board, "ada", True)
    done = _run(*issue, "--ttl", "0", code=2)
    assert "0 is not in the range" in done.stderr
    for member in ("", "ä" * 65):
        words = ["tokens", "issue", "--key", "login.jwk", "--member", member]
        assert "a member has 1 to 128 bytes" in _run(*words, code=2).stderr


def test_files_are_not_overwritten() -> None:
    keygen = ["tokens", "keygen", "--private", "login.jwk", "--jwks", "players.jwks"]
    Path("players.jwks").write_text("mine")
    done = _run(*keygen, code=1)
    assert done.stderr == "Error: players.jwks is there already; it is not overwritten\n"
    # Half a pair is of no use.
    assert [file.name for file in Path().iterdir()] == ["players.jwks"]
    Path("players.jwks").rename("login.jwk")
    _run(*keygen, code=1)
    assert [file.name for file in Path().iterdir()] == ["login.jwk"]
    assert Path("login.jwk").read_text() == "mine"
    _run("tokens", "keygen", "--private", "x", "--jwks", "x", code=1)
    _run("tokens", "keygen", "--private", "none/x", "--jwks", "y", code=1)
    assert [file.name for file in Path().iterdir()] == ["login.jwk"]


def test_a_key_that_cannot_sign_is_named() -> None:
    Path("bad.jwk").write_text("{}")
    done = _run("tokens", "issue", "--key", "bad.jwk", "--member", "ada", code=1)
    assert done.stderr.startswith("Error: cannot sign with bad.jwk: ")
