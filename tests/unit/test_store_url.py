"""Store URLs: which are meant, and what the connections behind them get."""

from __future__ import annotations

import pytest
from lessor_daemon import store_url
from lessor_daemon.settings import Address


def test_a_plain_url_stays_as_it_is() -> None:
    for text in ("redis://x:1/2?a=b", "rediss://u:p@x", "unix:///run/redis.sock", "embedded"):
        assert store_url.read(text) == text


def test_sentinel_names_sentinels_and_a_service() -> None:
    url = store_url.parse("redis+sentinel://u:p%40ss@a:1,[::1]:2,a:1/main?db=3&sentinel_password=q")
    assert (url.kind, url.service) == ("sentinel", "main")
    assert url.nodes == (Address("a", 1), Address("::1", 2))
    assert url.of_server(Address("m", 6379)) == "redis://u:p%40ss@m:6379?db=3"
    assert url.of_sentinel(Address("::1", 2)) == "redis://:q@[::1]:2"


def test_tls_and_its_authority_are_for_sentinels_too() -> None:
    url = store_url.parse("rediss+sentinel://a:1/main?ssl_ca_certs=%2Fca.pem&db=1")
    assert url.of_sentinel(Address("a", 1)) == "rediss://a:1?ssl_ca_certs=%2Fca.pem"
    assert url.of_server(Address("m", 2)) == "rediss://m:2?ssl_ca_certs=%2Fca.pem&db=1"


def test_a_cluster_names_some_of_its_nodes() -> None:
    url = store_url.parse("redis+cluster://:p@a:1,b:2")
    assert (url.kind, url.nodes) == ("cluster", (Address("a", 1), Address("b", 2)))
    assert url.of_server(Address("c", 3)) == "redis://:p@c:3"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mysql://x", "start with one of"),
        ("redis://", "names no host"),
        ("redis://x:port", "can be read"),
        ("unix://", "names no socket"),
        ("redis+sentinel://a:1,b:2", "names no service"),
        ("redis+sentinel://a/main", "with a port for each"),
        ("redis+cluster://a:1,,b:2", "with a port for each"),
        ("redis+cluster://a:1/0", "a Cluster has none"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_with_what_is_wrong(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        store_url.read(text)
