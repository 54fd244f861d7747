"""Administration where no server answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.command_line import Shell
from support.raw_server import RawServer, answer, read_request

if TYPE_CHECKING:
    import socket
    from pathlib import Path

UNREACHABLE, USAGE = 69, 78


def test_without_a_server_the_exit_code_says_so(tmp_path: Path, free_port: int) -> None:
    shell = Shell(tmp_path)
    settings = {"LESSOR_URL": f"http://127.0.0.1:{free_port}", "LESSOR_API_KEY": "lsr_a_b"}
    done = shell.run("member", "list", **settings)
    assert (done.returncode, done.stdout) == (UNREACHABLE, "")
    assert "is it running there" in done.stderr
    assert shell.run("member", "list").returncode == USAGE


def test_a_change_that_got_no_answer_is_not_sent_again(tmp_path: Path) -> None:
    whoami = b'{"organization": "acme"}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    requests: list[bytes] = []

    def hang_up(connection: socket.socket) -> None:
        requests.append(read_request(connection))

    with RawServer(answer(head % len(whoami) + whoami), hang_up) as server:
        settings = {
            "LESSOR_URL": f"{server.url},{server.url}",
            "LESSOR_API_KEY": "lsr_a_b",
        }
        done = Shell(tmp_path).run("key", "make", "ci", **settings)
    assert done.returncode == UNREACHABLE
    assert "it may have happened all the same" in done.stderr
    assert len(requests) == 1
    assert requests[0].startswith(b"POST /v1/orgs/acme/keys ")
