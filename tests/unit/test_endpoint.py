"""Server URLs and proxy variables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lessor.endpoint import Endpoint, proxy_for


@pytest.mark.parametrize(
    ("url", "parts", "authority"),
    [
        ("http://127.0.0.1:7420", ("http", "127.0.0.1", 7420, ""), "127.0.0.1:7420"),
        ("HTTPS://Lessor.Example/", ("https", "lessor.example", 443, ""), "lessor.example"),
        ("http://h:80/a/b/", ("http", "h", 80, "/a/b"), "h"),
        ("http://[::1]:7420/x", ("http", "::1", 7420, "/x"), "[::1]:7420"),
        ("https://[::1]", ("https", "::1", 443, ""), "[::1]"),
    ],
)
def test_a_url_is_taken_apart(url: str, parts: tuple[object, ...], authority: str) -> None:
    found = Endpoint.parse(url)
    assert (found.scheme, found.host, found.port, found.prefix) == parts
    assert found.authority == authority


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "starts with http"),
        ("lessor.example:7420", "starts with http"),
        ("ftp://lessor.example", "starts with http"),
        ("http://", "names no host"),
        ("http://:7420", "names no host"),
        ("http://a b", "no place in a URL"),
        ("http://h/x?y=1", "no place in a URL"),
        ("http://h:0", "no port from 1 to 65535"),
        ("http://h:65536", "no port from 1 to 65535"),
        ("http://h:x", "no port from 1 to 65535"),
        ("http://[::1", "names no host"),
        ("http://.h", "names no host"),
        ("http://prüfstand", "ASCII form"),
        ("http://h/prüfstand", "path in the ASCII form"),
        ("http://h/\u0142", "path in the ASCII form"),
        ("http://h\r\nX: y", "no place in a URL"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Endpoint.parse(url)


def test_credentials_in_a_url_are_refused_and_not_shown() -> None:
    for url in ("http://ada:hunter2@h", "http://ada:hunter2@h:x", "http://ada:hunter2@"):
        with pytest.raises(ValueError, match=r".") as caught:
            Endpoint.parse(url)
        assert "hunter2" not in str(caught.value)


@given(st.text(max_size=30), st.sampled_from(["", "http://", "https://["]))
def test_any_text_is_a_url_or_a_value_error(text: str, start: str) -> None:
    try:
        found = Endpoint.parse(start + text)
    except ValueError:
        return
    assert found.host
    assert found.authority.isascii()
    assert found.prefix.isascii()


def through(url: str, **environ: str) -> str:
    proxy = proxy_for(Endpoint.parse(url), environ)
    return proxy.address if proxy is not None else ""


def test_the_proxy_goes_by_the_scheme_of_the_server() -> None:
    environ = {"http_proxy": "http://a:1", "HTTPS_PROXY": "http://b:2"}
    assert through("http://h.test", **environ) == "a:1"
    assert through("https://h.test", **environ) == "b:2"


def test_the_lower_case_spelling_wins_and_all_proxy_is_the_last() -> None:
    assert through("http://h.test", http_proxy="http://a:1", HTTP_PROXY="http://b:2") == "a:1"
    assert through("https://h.test", all_proxy="http://c:3") == "c:3"
    assert through("http://h.test", http_proxy="", ALL_PROXY="http://c:3") == "c:3"


def test_a_proxy_may_leave_out_its_scheme_and_have_a_password() -> None:
    assert through("http://h.test", http_proxy="a:3128") == "a:3128"
    proxy = proxy_for(Endpoint.parse("http://h.test"), {"http_proxy": "http://u:p%40%zz@a:1"})
    assert proxy is not None
    assert (proxy.user, proxy.password) == ("u", "p@%zz")


def test_a_cgi_programs_http_proxy_variable_is_not_believed() -> None:
    assert through("http://h.test", HTTP_PROXY="http://a:1", REQUEST_METHOD="GET") == ""


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.0.0.1", "http://[::1]:1"])
def test_a_loopback_address_never_goes_through_a_proxy(url: str) -> None:
    assert through(url, http_proxy="http://a:1") == ""


@pytest.mark.parametrize(
    ("exceptions", "is_excepted"),
    [
        ("*", True),
        ("lab.test", True),
        (".lab.test", True),
        ("*.lab.test", True),
        ("h.lab.test", True),
        ("H.LAB.TEST", True),
        ("h.lab.test:7420", True),
        ("h.lab.test:443", False),
        ("other.test, lab.test", True),
        ("ab.test", False),
        ("x.h.lab.test", False),
        ("", False),
    ],
)
def test_no_proxy_lists_hosts_and_domains(exceptions: str, is_excepted: bool) -> None:
    found = through("http://h.lab.test:7420", http_proxy="http://a:1", no_proxy=exceptions)
    assert found == ("" if is_excepted else "a:1")


@pytest.mark.parametrize(
    ("url", "exceptions", "is_excepted"),
    [
        ("http://10.1.2.3", "10.0.0.0/8", True),
        ("http://11.1.2.3", "10.0.0.0/8", False),
        ("http://10.1.2.3", "10.1.2.3", True),
        ("http://[fd00::5]:1", "fd00::/8", True),
        ("http://[fd00::5]:1", "[fd00::5]", True),
        ("http://h.test", "10.0.0.0/8", False),
        ("http://10.1.2.3", "nonsense/8", False),
    ],
)
def test_no_proxy_lists_addresses_and_networks(
    url: str, exceptions: str, is_excepted: bool
) -> None:
    found = through(url, http_proxy="http://a:1", NO_PROXY=exceptions)
    assert found == ("" if is_excepted else "a:1")


@pytest.mark.parametrize("url", ["https://a:1", "socks5://a:1", "http://a:x", "http://u:pw@:1"])
def test_a_proxy_that_cannot_work_is_named_by_its_variable(url: str) -> None:
    with pytest.raises(ValueError, match="http_proxy") as caught:
        through("http://h.test", http_proxy=url)
    assert "pw" not in str(caught.value)
