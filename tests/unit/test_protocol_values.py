"""Small values of the protocol: durations, lease ids, API keys, problems, timing."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lessor_protocol import timing
from lessor_protocol.credentials import redact, split_api_key
from lessor_protocol.duration import format_duration, parse_duration_ms
from lessor_protocol.errors import HTTP_STATUS, TITLES, Problem
from lessor_protocol.lease_id import format_lease_id, new_lease_id, parse_lease_id


def read_or_refuse(read: Callable[[str], object], text: str) -> str | None:
    try:
        read(text)
    except ValueError as error:
        found = re.search("not a UUID|is not a duration", str(error))
        return found[0] if found else str(error)
    return None


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("90", 90_000),
        ("90s", 90_000),
        ("10m", 600_000),
        ("1h30m", 5_400_000),
        ("1.5s", 1_500),
        ("250ms", 250),
        ("0", 0),
        (" 5s ", 5_000),
        ("2d", 172_800_000),
        ("0.5", 500),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, ms: int) -> None:
    assert parse_duration_ms(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "s",
        "-5",
        "5x",
        "5 s 3",
        "1.2.3",
        ".",
        "1h30",
        "inf",
        "nan",
        "1e9",
        "\u0663",
        "9" * 400,
    ],
)
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as"):
        parse_duration_ms(text)


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    assert read_or_refuse(parse_duration_ms, text) in (None, "is not a duration")


@given(st.integers(0, 10**6))
def test_whole_seconds_survive_being_shown(seconds: int) -> None:
    assert parse_duration_ms(format_duration(seconds * 1000)) == seconds * 1000


def test_lease_ids_are_random_uuids() -> None:
    first, second = new_lease_id(), new_lease_id()
    assert first != second
    assert len(first) == 16
    assert format_lease_id(first)[14] == "4"
    assert format_lease_id(first)[19] in "89ab"


@given(st.binary(min_size=16, max_size=16))
def test_lease_ids_survive_their_text(lease_id: bytes) -> None:
    assert parse_lease_id(format_lease_id(lease_id)) == lease_id


@given(st.text(max_size=40))
def test_any_text_is_a_lease_id_or_a_value_error(text: str) -> None:
    assert read_or_refuse(parse_lease_id, text) in (None, "not a UUID")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0" * 32,
        "{00000000-0000-4000-8000-000000000000}",
        "00000000-0000-4000-8000-00000000000",
        "00000000-0000-4000-8000-00000000000g",
        "00000000 0000-4000-8000-000000000000",
        "0000000-00000-4000-8000-000000000000",
        "00000000-0000-4000-8000-0000000000 0",
        "\u06600000000-0000-4000-8000-000000000000",
    ],
)
def test_only_the_canonical_form_of_a_lease_id_is_read(text: str) -> None:
    with pytest.raises(ValueError, match="not a UUID"):
        parse_lease_id(text)


def test_an_api_key_splits_into_id_and_secret() -> None:
    assert split_api_key("lsr_k1_s3cr3t") == ("k1", "s3cr3t")


@pytest.mark.parametrize(
    "text", ["", "lsr", "lsr_a", "lsr_a_", "lsr__b", "key_a_b", "lsr_a_b_c", "lsr_a_b!", "lsr_ä_b"]
)
def test_a_bad_api_key_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="not an API key of the form") as caught:
        split_api_key(text)
    assert not text or text == "lsr" or text not in str(caught.value)


KEY_PART = st.text("abcXYZ019", min_size=1, max_size=12)


@given(before=st.text(max_size=10), id=KEY_PART, secret=KEY_PART, after=st.text(max_size=10))
def test_a_key_in_any_text_is_redacted(before: str, id: str, secret: str, after: str) -> None:
    secret = f"S{secret}S"
    shown = redact(f"{before} lsr_{id}_{secret} {after}")
    assert f"lsr_{id}_***" in shown
    assert f"_{secret}" not in shown


def test_what_only_shows_the_form_of_a_key_is_left_as_it_is() -> None:
    form = "not an API key of the form lsr_<id>_<secret>"
    assert redact(form) == form
    assert redact(f"{form}: lsr_a_one") == f"{form}: lsr_a_***"


@pytest.mark.parametrize(
    "text", ["lsr__secret", "lsr_a_b_secret", "lsr_lsr_secret", "_lsr_a_secret"]
)
def test_what_resembles_a_key_is_redacted_too(text: str) -> None:
    assert "secret" not in redact(text)


def test_all_keys_in_a_text_are_redacted() -> None:
    assert redact("lsr_a_one,lsr_b_two.") == "lsr_a_***,lsr_b_***."


@given(st.text(max_size=40))
def test_redacting_ends_and_is_idempotent(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_every_code_has_a_status_and_a_title() -> None:
    assert HTTP_STATUS.keys() == TITLES.keys()


@given(
    code=st.sampled_from(sorted(HTTP_STATUS)),
    detail=st.text(max_size=20),
    retry_after=st.none() | st.floats(0, 100),
)
def test_problems_survive_the_wire(code: str, detail: str, retry_after: float | None) -> None:
    problem = Problem(code, detail, retry_after=retry_after, data={"field": "x"})
    read = Problem.from_wire(problem.to_wire(), problem.status)
    assert (read.code, read.detail, read.retry_after, read.data) == (
        code,
        detail,
        retry_after,
        {"field": "x"},
    )


@pytest.mark.parametrize("body", [None, [], "no", {}, {"code": 5}])
def test_an_error_without_a_code_counts_as_internal(body: object) -> None:
    problem = Problem.from_wire(body, 502)
    assert problem.code == "internal"
    assert "502" in problem.detail


@given(st.integers(timing.MIN_TTL_MS, timing.LONGEST_MAX_TTL_MS), st.integers(0, 3_600_000))
def test_a_client_is_done_before_the_server_frees_the_seat(ttl_ms: int, kill_after_ms: int) -> None:
    """With clocks apart by 0.1 % each way, and a lease clock 2 s ahead."""
    stop_ms = ttl_ms - timing.stop_grace_ms(ttl_ms, kill_after_ms)
    kill_ms = ttl_ms - timing.kill_lead_ms(ttl_ms)
    assert stop_ms <= ttl_ms
    assert kill_ms < ttl_ms
    freed_ms = (ttl_ms + timing.margin_ms(ttl_ms)) * 0.999 - timing.CLOCK_CLAIM_CAP_MS
    assert ttl_ms * 1.001 < freed_ms
