"""Settings: precedence of the sources, and every kind of mistake with its place."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from rankwire import settings as module
from rankwire.settings import (
    FIELDS,
    Settings,
    SettingsError,
    load,
    reference_table,
    shown_url,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a ``rankwire.toml`` beside the tests out of them."""
    monkeypatch.chdir(tmp_path)


def problems(
    document: str = "",
    environ: dict[str, str] | None = None,
    flags: dict[str, object] | None = None,
) -> list[str]:
    file = Path("wrong.toml")
    file.write_text(document, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(file, environ or {}, flags or {})
    return caught.value.problems


def test_without_any_source_the_defaults_hold() -> None:
    assert load(None, {"HOME": "/root"}, {}) == Settings()


def test_every_default_is_an_allowed_value() -> None:
    for field in FIELDS:
        assert field.convert(field.default, strict=True) == field.default


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text("[http]\nport = 1001\nhost = 'file'\n[live]\nport = 1002\n", encoding="utf-8")
    environ = {"RANKWIRE_HTTP_PORT": "2001", "RANKWIRE_LIVE_TICK_MS": "20"}
    settings = load(file, environ, {"http_port": 3001, "live_port": None})
    assert settings.http == module.Http(host="file", port=3001)
    assert settings.live == module.Live(port=1002, tick_ms=20)


def test_the_file_of_the_working_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / "rankwire.toml").write_text("[log]\nlevel = 'debug'\n", encoding="utf-8")
    assert load(None, {}, {}).log.level == "debug"


def test_a_named_file_replaces_the_one_of_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "rankwire.toml").write_text("[log]\nlevel = 'debug'\n", encoding="utf-8")
    (tmp_path / "other.toml").write_text("[log]\nformat = 'json'\n", encoding="utf-8")
    assert load(tmp_path / "other.toml", {}, {}).log == module.Log(format="json")


def test_text_from_environment_and_flags_becomes_typed() -> None:
    environ = {"RANKWIRE_STORAGE_PATH": "/data", "RANKWIRE_STORAGE_BUSY_SECONDS": "0.5"}
    settings = load(None, environ, {"live_port": "0", "storage_checkpoint_seconds": "60"})
    expected = module.Storage(path=Path("/data"), busy_seconds=0.5, checkpoint_seconds=60.0)
    assert settings.storage == expected
    assert settings.live.port == 0


def test_a_text_may_be_empty_unless_it_is_an_address() -> None:
    settings = load(None, {"RANKWIRE_AUTH_TOKENS": ""}, {"live_origins": ""})
    assert settings == Settings()
    assert '| `auth.tokens` | `""` | a text |' in reference_table()
    assert "| `live.processes` | `0` |" in reference_table()


def test_integers_are_numbers_for_a_float_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text("[storage]\nbusy_seconds = 3\n", encoding="utf-8")
    assert load(file, {}, {}).storage.busy_seconds == 3.0


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            "[http]\nport = 70000",
            "wrong.toml: http.port: found 70000, allowed is an integer from 0 to 65535",
        ),
        (
            "[http]\nport = '7700'",
            "wrong.toml: http.port: found '7700', allowed is an integer from 0 to 65535",
        ),
        (
            "[live]\ntick_ms = true",
            "wrong.toml: live.tick_ms: found True, allowed is an integer from 10 to 10000",
        ),
        (
            "[storage]\nbusy_seconds = nan",
            "wrong.toml: storage.busy_seconds: found nan, allowed is a number from 0 to 60",
        ),
        ("[storage]\npath = ''", "wrong.toml: storage.path: found '', allowed is a path"),
        (
            "[http]\nhost = ''",
            "wrong.toml: http.host: found '', allowed is a text that is not empty",
        ),
        (
            "[log]\nlevel = 'INFO'",
            "wrong.toml: log.level: found 'INFO', allowed is one of debug, info, warning, error",
        ),
        ("[live]\norigins = 3", "wrong.toml: live.origins: found 3, allowed is a text"),
        ("[htp]\nport = 1", "wrong.toml: unknown section [htp]; did you mean http?"),
        (
            "[cluster]\n",
            (
                "wrong.toml: unknown section [cluster]; "
                "known are: http, live, auth, storage, redis, regions, node, limits, ops, log"
            ),
        ),
        (
            "[live]\nticks_ms = 1",
            "wrong.toml: unknown setting live.ticks_ms; did you mean live.tick_ms?",
        ),
        (
            "port = 1",
            (
                "wrong.toml: unknown setting port outside of any section; "
                "did you mean http.port or live.port?"
            ),
        ),
        ("http = 1", "wrong.toml: http: found 1, allowed is a section: [http]"),
        (
            "[live]\nport = 7700",
            (
                "wrong.toml: live.port: found 7700 for both http.port and live.port, "
                "allowed is a port for each"
            ),
        ),
        (
            "[ops]\nwindow_seconds = 145.0\nsample_seconds = 0.2",
            (
                "wrong.toml: ops.window_seconds: found 145.0 for ops.window_seconds, allowed is "
                "at most 144, 720 times ops.sample_seconds"
            ),
        ),
    ],
)
def test_a_mistake_in_the_file(document: str, expected: str) -> None:
    assert problems(document) == [expected]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (
            {"RANKWIRE_LIVE_TICK_MS": "5"},
            (
                "environment: RANKWIRE_LIVE_TICK_MS (live.tick_ms): found '5', "
                "allowed is an integer from 10 to 10000"
            ),
        ),
        (
            {"RANKWIRE_HTTP_PORT": ""},
            (
                "environment: RANKWIRE_HTTP_PORT (http.port): found '', "
                "allowed is an integer from 0 to 65535"
            ),
        ),
        (
            {"RANKWIRE_HTTP_PROT": "1"},
            "environment: unknown variable RANKWIRE_HTTP_PROT; did you mean RANKWIRE_HTTP_PORT?",
        ),
    ],
)
def test_a_mistake_in_the_environment(environ: dict[str, str], expected: str) -> None:
    assert problems(environ=environ) == [expected]


def test_a_mistake_in_a_flag() -> None:
    expected = "--http-port (http.port): found 'x', allowed is an integer from 0 to 65535"
    assert problems(flags={"http_port": "x"}) == [expected]
    expected = "flags: unknown setting http_prot; did you mean http_port?"
    assert problems(flags={"http_prot": 1}) == [expected]


def test_all_mistakes_are_reported_at_once() -> None:
    found = problems("[http]\nport = -1\nhots = 'x'\n", {"RANKWIRE_X": ""}, {"log_format": "xml"})
    places = [problem.split(":")[0] for problem in found]
    assert places == ["wrong.toml", "environment", "wrong.toml", "--log-format (log.format)"]


def test_a_wrong_value_is_reported_also_when_a_later_source_replaces_it() -> None:
    found = problems("[http]\nport = -1\n", flags={"http_port": 7700})
    assert found == ["wrong.toml: http.port: found -1, allowed is an integer from 0 to 65535"]


def test_a_file_that_is_not_toml_or_not_there(tmp_path: Path) -> None:
    assert problems("[http\n")[0].startswith("wrong.toml: is not TOML: Expected ']'")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\n")
    for name, words in (("latin.toml", "is not TOML"), ("missing.toml", "cannot be read")):
        with pytest.raises(SettingsError, match=words):
            load(Path(name), {}, {})


def test_equal_ports_are_fine_on_different_hosts_and_when_free() -> None:
    load(None, {}, {"http_port": 0, "live_port": 0})
    load(None, {}, {"live_port": 7700, "live_host": "127.0.0.2"})


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Settings().http.port = 1  # type: ignore[misc]


def test_the_document_holds_the_table_of_the_code() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    table = re.search(r"<!-- table: begin -->\n(.*)<!-- table: end -->", text, re.DOTALL)
    assert table is not None
    assert table[1] == reference_table()


def test_the_examples_of_the_document_mean_the_same(tmp_path: Path) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    example = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert example is not None
    (tmp_path / "example.toml").write_text(example[1], encoding="utf-8")
    from_file = load(tmp_path / "example.toml", {}, {})
    environ = dict(re.findall(r"(RANKWIRE_[A-Z_]+)=([\w./]+) ", text.split("## Example")[1]))
    flags = dict(re.findall(r"--([\w-]+) ([\w./]+)", text.split("And with flags")[1]))
    assert from_file == load(None, environ, {})
    assert from_file == load(None, {}, {k.replace("-", "_"): v for k, v in flags.items()})


def test_every_setting_is_described_and_bounded() -> None:
    for field in FIELDS:
        assert field.description.endswith("."), field.name
        if field.kind in (int, float):
            assert None not in (field.meta.ge, field.meta.le), field.name
    assert len(FIELDS) == sum(
        len(msgspec.structs.fields(s.type)) for s in msgspec.structs.fields(Settings)
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://host/db", "postgresql://host/db"),
        ("postgresql://me@host:5432/db?sslmode=require", None),
        ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:sec:ret@h1,h2:1/db", "postgresql://me:***@h1,h2:1/db"),
        ("postgresql://me:secret@/db?host=/run", "postgresql://me:***@/db?host=/run"),
        ("postgresql://h/db?user=me&password=secret&x=1", "postgresql://h/db?user=me&password=***&x=1"),
        ("postgresql://h/db?sslpassword=secret", "postgresql://h/db?sslpassword=***"),
        # Not how it is written, but how it happens.
        ("postgresql://me:sec@ret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:sec/ret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:sec?ret@host/db", "postgresql://me:***@host/db"),
        ("redis://:secret@host:6379/0", "redis://:***@host:6379/0"),
        ("rediss+sentinel://u:secret@a:1,b:2/scores", "rediss+sentinel://u:***@a:1,b:2/scores"),
        ("host=db user=me password=secret dbname=x", "host=db user=me password=*** dbname=x"),
        ("host=db password = 'sec ret\\'s' user=me", "host=db password = *** user=me"),
        ("", ""),
    ],
)  # fmt: skip
def test_urls_are_shown_without_their_passwords(url: str, shown: str | None) -> None:
    assert shown_url(url) == (url if shown is None else shown)
