"""The settings of regions: what goes together, what does not, and the secret that never shows."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from rankwire import settings
from rankwire.settings import SettingsError, load
from rankwire.settings_regions import MOST_PEERS

SECRET = "the-secret-of-all-these-regions-is-long"
GOOD: dict[str, object] = {
    "storage_url": "postgresql://me@host/db",
    "regions_name": "eu",
    "regions_peers": "us=https://us.example.com ap=http://10.0.0.1:7700/prefix/",
    "regions_secret": SECRET,
}


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def problems(**flags: object) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(None, {}, GOOD | flags)
    return caught.value.problems


def test_without_a_name_there_are_no_regions() -> None:
    regions = load(None, {}, {}).regions
    assert (regions.is_on, regions.peer_urls, regions.all_names) == (False, {}, [""])


def test_peers_are_read_from_each_source(tmp_path: Path) -> None:
    expected = {"us": "https://us.example.com", "ap": "http://10.0.0.1:7700/prefix"}
    regions = load(None, {}, GOOD).regions
    assert regions.peer_urls == expected
    assert regions.all_names == ["ap", "eu", "us"]
    assert regions.chosen_primary == "ap"
    assert load(None, {}, GOOD | {"regions_primary": "us"}).regions.chosen_primary == "us"
    environ = {f"RANKWIRE_{name.upper()}": str(value) for name, value in GOOD.items()}
    assert load(None, environ, {}).regions == regions
    file = tmp_path / "some.toml"
    file.write_text(
        f'[storage]\nurl = "postgresql://me@host/db"\n[regions]\nname = "eu"\nsecret = "{SECRET}"\n'
        'peers = ["us=https://us.example.com", "ap=http://10.0.0.1:7700/prefix/"]\n',
        encoding="utf-8",
    )
    assert load(file, {}, {}).regions == regions
    assert settings.from_json(settings.to_json(load(file, {}, {}))).regions == regions


def test_a_region_may_be_the_first_one() -> None:
    regions = load(None, {}, GOOD | {"regions_peers": ""}).regions
    assert (regions.all_names, regions.chosen_primary) == (["eu"], "eu")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("name", "EU", "found 'EU', allowed is 1 to 32 of a-z, 0-9 and '-'"),
        ("name", "e" * 33, "allowed is 1 to 32 of a-z"),
        ("peers", "us", "found 'us', allowed is NAME=URL"),
        ("peers", "us=", "found 'us=', allowed is NAME=URL"),
        ("peers", "US=https://host", "allowed is NAME=URL"),
        ("peers", "us=ftp://host", "allowed is NAME=URL"),
        ("peers", "us=https://", "allowed is NAME=URL"),
        ("peers", "us=https://host:99999", "allowed is NAME=URL"),
        ("peers", "us=https://[1:2", "allowed is NAME=URL"),
        ("peers", "us=https://host?x=1", "allowed is NAME=URL"),
        ("peers", "us=https://host#x", "allowed is NAME=URL"),
        ("peers", "eu=https://host", "found 'eu', which is this region itself"),
        ("peers", "us=https://a us=https://b", "found 'us' twice"),
        ("primary", "xx", "found 'xx', allowed is one of ap, eu, us"),
        ("secret", "x" * 31, "found 31 characters, allowed are 32 to 1024 printable ones"),
        ("secret", "x" * 1025, "found 1025 characters"),
        ("secret", "x" * 40 + " ", "found 41 characters"),
        ("secret", "é" * 40, "found 40 characters"),
        ("secret", "", "found 0 characters"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(name: str, value: str, words: str) -> None:
    (found,) = problems(**{f"regions_{name}": value})
    assert found.startswith(f"--regions-{name} (regions.{name}): ")
    assert words in found


def test_regions_need_postgresql() -> None:
    (found,) = problems(storage_url="")
    assert "allowed only with storage.url" in found
    assert "PostgreSQL" in found


def test_what_belongs_to_regions_needs_a_name() -> None:
    found = problems(regions_name="", regions_primary="us", regions_mode="primary")
    assert [problem.split(" ", 1)[0] for problem in found] == [
        "--regions-peers",
        "--regions-secret",
        "--regions-primary",
        "--regions-mode",
    ]
    assert all(problem.endswith("allowed only with regions.name") for problem in found)


def test_there_are_not_too_many_peers() -> None:
    peers = [f"r{number}=https://host" for number in range(MOST_PEERS + 1)]
    assert load(None, {}, GOOD | {"regions_peers": " ".join(peers[:-1])}).regions.is_on
    (found,) = problems(regions_peers=" ".join(peers))
    assert "allowed is a list of at most 15 texts" in found


def test_the_secret_and_logins_show_nowhere(tmp_path: Path) -> None:
    loaded = load(None, {}, GOOD)
    assert SECRET not in f"{loaded}{loaded!r}{loaded.regions}"
    for wrong in (SECRET[:31], SECRET + " "):
        assert SECRET[:31] not in str(problems(regions_secret=wrong))
    file = tmp_path / "some.toml"
    file.write_text("[regions]\nsecret = 1234567890\n", encoding="utf-8")
    assert tomllib.loads(file.read_text(encoding="utf-8"))
    with pytest.raises(SettingsError) as caught:
        load(file, {}, {})
    assert "1234567890" not in str(caught.value)
    assert "regions.secret: found something else, allowed is a text" in str(caught.value)
    (found,) = problems(regions_peers="us=https://me:password@host")
    assert "password" not in found
