"""`rankwire regions` and what it asks: the right server's answer, and nothing that cannot be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest
from click.testing import CliRunner, Result

from rankwire.cli import _regions_verify, main
from rankwire.model_regions import Verifying
from rankwire.sync.regions.report import PeerReport, Progress, Report

BEGAN_MS = 1000
_UNDER_WAY = Progress(BEGAN_MS, "us", 0, 1, 0, 0, 0)


def _report(at_ms: int, found: int) -> Report:
    peer = PeerReport("us", None, False, 1, 1, found, 0, 0, 0, 1, 1, 1, 0.1)
    return Report.of([peer], region="eu", at_ms=at_ms, seconds=0.1, repair=False, source="")


Answering = Callable[..., str]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """Serve these answers in turn, the first with 202, the last again and again."""
    ends: list[Callable[[], None]] = []

    def serve(*answers: Verifying) -> str:
        left = list(answers)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._tell(200)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self._tell(202)

            def log_message(self, *_: object) -> None:
                pass

            def _tell(self, status: int) -> None:
                body = msgspec.json.encode(left.pop(0) if len(left) > 1 else left[0])
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        ends.extend((server.shutdown, thread.join, server.server_close))
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield serve
    for end in ends:
        end()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_regions_verify, "_LOOK_SECONDS", 0.0)


def _run(*words: str) -> Result:
    return CliRunner().invoke(main, ["regions", *words])


def test_another_servers_report_is_not_taken_for_the_one_that_was_asked_for(
    answering: Answering,
) -> None:
    url = answering(
        Verifying(_UNDER_WAY, None, "a"),
        Verifying(None, _report(BEGAN_MS - 1, 0), "b"),
        Verifying(_UNDER_WAY, None, "a"),
        Verifying(None, None, "b"),
        Verifying(None, _report(BEGAN_MS + 1, 1), "a"),
    )
    done = _run("verify", "--server", url)
    assert (done.exit_code, "1 differences" in done.stdout) == (1, True), done.output


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (Verifying(None, _report(BEGAN_MS + 1, 0), "b"), "name one server with --server"),
        (Verifying(None, _report(BEGAN_MS - 1, 0), "a"), "the comparison failed"),
        (Verifying(None, None, "a"), "the comparison failed"),
    ],
)
def test_a_comparison_whose_end_is_not_seen_is_a_failure(
    answering: Answering, last: Verifying, words: str
) -> None:
    done = _run("verify", "--server", answering(Verifying(_UNDER_WAY, None, "a"), last))
    assert done.exit_code == 1
    assert words in done.stderr


@pytest.mark.parametrize("name", ["US", "us east", "", "u" * 33])
def test_no_database_becomes_that_of_a_region_that_cannot_be_named(name: str) -> None:
    done = _run("adopt", name, "--yes", "--storage-url", "postgresql://127.0.0.1:1/none")
    assert (done.exit_code, "1 to 32 of a-z" in done.stderr) == (2, True), done.output


@pytest.mark.parametrize("reason", ["", " ", "a\nb", "\x1b[31m"])
def test_a_reason_is_a_line_that_can_be_printed(reason: str) -> None:
    done = _run("out", reason, "--server", "http://127.0.0.1:1")
    assert (done.exit_code, "printable" in done.stderr) == (2, True), done.output
