"""What is wrong with a call is named in the same way over every transport."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from support.calls import wish

if TYPE_CHECKING:
    from .conftest import Calls


def nested(depth: int) -> object:
    """A list in a list in a list."""
    return [nested(depth - 1)] if depth else []


@pytest.mark.parametrize(
    ("op", "body", "status", "code", "field"),
    [
        ("acquire", "text", 422, "invalid", "the message"),
        ("acquire", [], 422, "invalid", "the message"),
        ("acquire", wish(id="not a uuid"), 422, "invalid", "id"),
        ("acquire", wish(machine={}), 422, "invalid", "machine.id"),
        ("acquire", wish(process={"pid": -1, "command": "c"}), 422, "invalid", "process.pid"),
        ("acquire", wish(wait="long"), 422, "invalid", "wait"),
        ("acquire", wish(labels={"a": "b\n"}), 422, "invalid", "labels.a"),
        ("acquire", wish(license="nope"), 404, "unknown_license", None),
        ("renew", {}, 422, "invalid", "leases"),
        ("renew", {"leases": "x"}, 422, "invalid", "leases"),
        ("renew", {"leases": ["x"]}, 422, "invalid", "leases[0]"),
        ("renew", {"leases": [None]}, 422, "invalid", "leases[0]"),
        ("renew", {"leases": ["x" * 36]}, 422, "invalid", "leases[0]"),
        ("renew", {"leases": [str(uuid.uuid4())] * 501}, 422, "invalid", "leases"),
        ("renew", {"leases": [], "deep": nested(20)}, 400, "malformed", None),
    ],
)
def test_what_is_wrong_is_named_and_the_transport_goes_on(  # noqa: PLR0917  # a table's columns
    caller: Calls, op: str, body: object, status: int, code: str, field: str | None
) -> None:
    answer = caller.call_op(op, body)
    assert (answer.status, answer.code) == (status, code)
    assert answer.body["status"] == status
    assert answer.body.get("field") == field
    granted = caller.acquire()
    assert granted.status == 201
    assert caller.release(granted.body["lease"]["id"]).status == 204
