"""`rankwire regions` against running regions."""

from __future__ import annotations

import json
import secrets
import subprocess
from pathlib import Path

from click.testing import CliRunner, Result

from cluster_books import PROBE
from fix_postgres import NewPostgres, Postgres, postgres_tool
from fix_regions import Region, Regions
from fix_server import Server, until
from rankwire.cli import main


def _run(*words: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(main, ["regions", *words], input=answer)


def _at(region: Region) -> tuple[str, str]:
    return ("--server", region.server.url)


def test_the_status_names_the_others_and_the_primary(three: Regions) -> None:
    shown = _run("status", *_at(three["us"]))
    assert shown.exit_code == 0, shown.output
    assert "Region us, mode active-active: eu is the primary of epoch" in shown.stdout
    assert "ap" in shown.stdout
    found = json.loads(_run("status", *_at(three["eu"]), "--json").stdout)
    assert (found["region"], found["is_primary"]) == ("eu", True)
    assert {link["region"] for link in found["links"]} == {"us", "ap"}


def test_the_status_says_what_is_wrong(three: Regions) -> None:
    three.part("us")
    until(
        lambda: all(not link["up"] for link in three["us"].status()["links"]), "links that are down"
    )
    shown = _run("status", *_at(three["us"]))
    assert "Degraded: " in shown.stdout


def test_a_failover_is_asked_for_and_goes_back(three: Regions) -> None:
    refused = _run("failover", *_at(three["us"]), answer="n\n")
    assert refused.exit_code == 1
    assert three["us"].status()["primary"] == "eu"
    done = _run("failover", *_at(three["us"]), answer="y\n")
    assert done.exit_code == 0, done.output
    assert "Region us is the primary in place of eu" in done.stdout
    three.until_linked()
    until(lambda: three["ap"].status()["primary"] == "us", "a primary that all know")
    back = _run("failback", *_at(three["ap"]), "--yes", "--json")
    assert back.exit_code == 0, back.output
    assert json.loads(back.stdout)["region"] == "eu"
    until(
        lambda: all(region.status()["primary"] == "eu" for region in three),
        "a primary that all know again",
    )


def test_a_region_is_taken_out_and_in(three: Regions) -> None:
    server = three["ap"].server
    assert _run("out", "a drill", *_at(three["ap"])).exit_code == 0
    until(lambda: server.get("/health").status == 503, "a region that is out")
    assert "Taken out by an operator: a drill." in _run("status", *_at(three["ap"])).stdout
    assert _run("in", *_at(three["ap"])).exit_code == 0
    until(lambda: server.get("/health").status == 200, "a region that is in")


def test_a_server_without_regions_says_so(server: Server) -> None:
    for words in (("status",), ("verify",), ("out", "a drill"), ("failback", "--yes")):
        done = _run(*words, "--server", server.url)
        assert done.exit_code == 1
        assert "in no region" in done.stderr


def test_a_database_that_is_no_copy_is_not_adopted(new_postgres: NewPostgres) -> None:
    empty = new_postgres().start()
    done = _run("adopt", "us", "--yes", "--storage-url", empty.url)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")


def test_a_lost_database_is_replaced_by_a_copy(three: Regions, tmp_path: Path) -> None:
    member, copy = f"t-{secrets.token_hex(4)}", tmp_path / "copy"
    eu, us = three["eu"], three["us"]
    assert us.server.submit(PROBE, member, 1).status == 200
    three.until_level()
    _copy(eu.postgres, copy)
    assert eu.server.submit(PROBE, member, 2).status == 200
    assert us.server.terminate() == 0
    us.postgres.sql("DROP DATABASE rankwire WITH (FORCE)", database="postgres")
    us.postgres.sql("CREATE DATABASE rankwire TEMPLATE template0", database="postgres")
    _restore(us.postgres, copy)
    adopted = _run("adopt", "us", "--yes", "--storage-url", us.postgres.url)
    assert adopted.exit_code == 0, adopted.output
    three.start()
    us.until_has(PROBE, member, 3)
    assert us.server.submit(PROBE, member, 4).status == 200
    for region in three:
        region.until_has(PROBE, member, 7)


def _copy(postgres: Postgres, file: Path) -> None:
    with file.open("wb") as into:
        subprocess.run([postgres_tool("pg_dump"), "-Fc", postgres.url], stdout=into, check=True)


def _restore(postgres: Postgres, file: Path) -> None:
    with file.open("rb") as data:
        command = [postgres_tool("pg_restore"), "--dbname", postgres.url]
        subprocess.run(command, stdin=data, check=True)
