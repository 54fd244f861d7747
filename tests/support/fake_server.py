"""A small server that speaks the lease protocol and misbehaves on demand.

It grants ``seats`` leases of a ``ttl_ms`` that no real daemon would allow, which keeps tests of
deadlines short, and it can fall silent, talk nonsense or lose replies.
"""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lessor_protocol import codec
from lessor_protocol.errors import Problem
from lessor_protocol.lease_id import format_lease_id
from lessor_protocol.messages import AcquireRequest, Lease, RenewAnswer, RenewRequest
from lessor_protocol.messages import Lost as LostLease
from lessor_protocol.queued import Holder, Queued

WELL = "well"
SILENT = "silent"
GARBAGE = "garbage"
CUT = "cut"

KEY = "lsr_test_secret"


class FakeServer:
    """Set ``mode`` and the other attributes at any time; ``log`` holds what was asked and when."""

    def __init__(self, *, seats: int = 5, ttl_ms: int = 3_000, queue: bool = True) -> None:
        self.seats = seats
        self.ttl_ms = ttl_ms
        self.queue = queue
        self.retry_after_ms = 50
        self.mode = WELL
        self.default_license: str | None = "kre"
        self.refusal: Problem | None = None
        self.renew_refusal: Problem | None = None
        self.leases: dict[bytes, Lease] = {}
        self.ended: dict[bytes, str] = {}
        self.waiting: list[bytes] = []
        self.notices: list[object] = []
        self.log: list[tuple[str, float]] = []
        self._lock = threading.Lock()
        self._tokens = 0
        self._closing = threading.Event()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                fake.handle(self)

            do_POST = do_DELETE = do_GET  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                return

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def close(self) -> None:
        """Stop serving, and let silent requests go."""
        self._closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def count(self, what: str) -> int:
        """How often ``acquire``, ``renew``, ``release`` or ``whoami`` was asked."""
        return sum(1 for name, _ in self.log if name == what)

    def end(self, lease_id: bytes, reason: str) -> None:
        """End a lease as an admin does."""
        with self._lock:
            self.leases.pop(lease_id, None)
            self.ended[lease_id] = reason

    def handle(self, http: BaseHTTPRequestHandler) -> None:
        """Answer one request, in the way of ``mode``."""
        body = http.rfile.read(int(http.headers.get("Content-Length") or 0))
        try:
            status, answer = self._answer(http.command, http.path, body)
        except Problem as problem:
            status, answer = problem.status, problem.to_wire()
        if self.mode == SILENT:
            while self.mode == SILENT and not self._closing.wait(0.02):
                pass
            http.close_connection = True
            return
        if self.mode == CUT:
            http.close_connection = True
            return
        data = b"" if status == 204 else codec.encode(answer, codec.MSGPACK)
        if self.mode == GARBAGE:
            data = b"<html>It works!</html>"
        try:
            http.send_response(status)
            if status != 204:
                http.send_header("Content-Type", codec.MSGPACK)
                http.send_header("Content-Length", str(len(data)))
            http.end_headers()
            http.wfile.write(data)
        except OSError:
            return  # the client has given up meanwhile

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if path == "/v1/whoami":
            self._note("whoami")
            return 200, {"organization": "acme", "default_license": self.default_license}
        if method == "DELETE":
            return self._release(bytes.fromhex(path.rpartition("/")[2].replace("-", "")))
        message = codec.decode(body, codec.MSGPACK)
        if path == "/v1/leases/renew":
            return self._renew(RenewRequest.from_wire(message))
        return self._acquire(AcquireRequest.from_wire(message))

    def _acquire(self, request: AcquireRequest) -> tuple[int, Any]:
        self._note("acquire")
        if self.refusal is not None:
            raise self.refusal
        with self._lock:
            if request.lease_id in self.ended:
                raise Problem("lease_ended", self.ended[request.lease_id])
            if request.lease_id not in self.leases:
                if len(self.leases) >= self.seats:
                    return self._full(request)
                self._tokens += 1
                self.leases[request.lease_id] = self._lease(request)
                if request.lease_id in self.waiting:
                    self.waiting.remove(request.lease_id)
            return 201, {"lease": self.leases[request.lease_id].to_wire()}

    def _lease(self, request: AcquireRequest) -> Lease:
        return Lease(
            lease_id=request.lease_id,
            license=request.license,
            token=self._tokens,
            ttl_ms=self.ttl_ms,
            renew_after_ms=self.ttl_ms // 4,
            granted_at="2026-01-01T00:00:00Z",
            certificate="",
            machine=request.machine,
            process=request.process,
            labels=request.labels,
        )

    def _full(self, request: AcquireRequest) -> tuple[int, Any]:
        holders = [
            Holder("ada", "ci-1", "pytest \u2028-x", {"branch": "main"}, "2026-01-01T00:00:00Z")
            if not self.leases
            else Holder(
                "ada", lease.machine.name, lease.process.command, lease.labels, lease.granted_at
            )
            for lease in (list(self.leases.values()) or [None])  # type: ignore[list-item]  # none: seats are 0
        ]
        if request.wait_ms == 0 or not self.queue:
            data = {"holders": [holder.to_wire() for holder in holders]}
            raise Problem("seats_exhausted", "all seats are taken", retry_after=0.05, data=data)
        if request.lease_id not in self.waiting:
            self.waiting.append(request.lease_id)
        position = self.waiting.index(request.lease_id) + 1
        return 202, Queued(position, position, "seats", holders, self.retry_after_ms).to_wire()

    def _renew(self, request: RenewRequest) -> tuple[int, Any]:
        self._note("renew")
        if self.renew_refusal is not None:
            raise self.renew_refusal
        renewed, lost = [], []
        with self._lock:
            for renewal in request.renewals:
                if renewal.lease_id in self.leases:
                    renewed.append(renewal.lease_id)
                else:
                    reason = self.ended.get(renewal.lease_id, "lapsed")
                    lost.append(LostLease(renewal.lease_id, "lease_ended", reason))
        ttl_ms = self.ttl_ms
        return 200, RenewAnswer(renewed, lost, ttl_ms, ttl_ms // 4, self.notices).to_wire()

    def _release(self, lease_id: bytes) -> tuple[int, Any]:
        self._note("release")
        with self._lock:
            was_ended = lease_id in self.ended
            self.ended.setdefault(lease_id, "released")
            if lease_id in self.waiting:
                self.waiting.remove(lease_id)
                return 204, None
            if self.leases.pop(lease_id, None) is None and not was_ended:
                raise Problem("not_found", f"{format_lease_id(lease_id)} was never seen")
        return 204, None

    def _note(self, what: str) -> None:
        self.log.append((what, time.monotonic()))
