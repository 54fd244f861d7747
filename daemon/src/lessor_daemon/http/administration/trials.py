"""``POST /v1/orgs/{org}/licenses/{name}/policy/try``: a dry run of a policy or a seat count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol.fields import invalid

from lessor_daemon import values
from lessor_daemon.directory.policy import MOST_GROUPS, read_policy
from lessor_daemon.http.auth import authorize
from lessor_daemon.http.bodies import answer
from lessor_daemon.http.context import DIRECTORY

from .forms import read_form

if TYPE_CHECKING:
    from aiohttp import web


async def try_policy(request: web.Request) -> web.Response:
    """200 with the waits of the last day, as they were and as they would have been."""
    await authorize(request)
    form = await read_form(request)
    fields = form.fields
    seats = fields.integer("seats", most=values.MOST_SEATS) if form.is_given("seats") else None
    policy = (
        read_policy(fields.array("policy", most=MOST_GROUPS)) if form.is_given("policy") else None
    )
    if seats is None and policy is None:
        raise invalid("policy", "or seats is required: what to try")
    found = await request.app[DIRECTORY].trials.run(
        request.match_info["org"], request.match_info["name"], seats=seats, policy=policy
    )
    return answer(request, found)
