from __future__ import annotations

import pytest

from buildah_py.errors import UsageError
from buildah_py.http.proxies import proxy_for, without_credentials


@pytest.mark.parametrize(
    ("host", "no_proxy", "through"),
    [
        ("registry.test", "", True),
        ("registry.test", "*", False),
        ("registry.test", "test", False),
        ("registry.test", ".test", False),
        ("registry.test", "*.test", False),
        ("registry.test:5000", "registry.test", False),
        ("registry.test:5000", "registry.test:5000", False),
        ("registry.test:5000", "registry.test:5001", True),
        ("REGISTRY.test:5000", "registry.TEST:5000", False),
        ("registry.test", "other,REGISTRY.TEST ,x", False),
        ("registry.test", "istry.test", True),
        ("registry.test", ",, ,", True),
        ("10.1.2.3:5000", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", False),
        ("11.1.2.3", "10.0.0.0/8", True),
        ("[fd00::1]:5000", "fd00::/8", False),
        ("[fd00::1]:5000", "[fd00::1]:5000", False),
        ("[fd00::1]:5000", "fe80::/8", True),
        ("localhost:5000", "", False),
        ("127.0.0.1", "", False),
        ("[::1]:5000", "", False),
    ],
)
def test_who_is_reached_through_the_proxy(host: str, no_proxy: str, through: bool) -> None:
    environ = {"https_proxy": "http://proxy:3128", "NO_PROXY": no_proxy}
    assert (proxy_for("https", host, environ) is not None) is through


def test_which_proxy() -> None:
    assert proxy_for("https", "a.b", {}) is None
    assert proxy_for("https", "a.b", {"HTTP_PROXY": "x"}) is None
    assert proxy_for("https", "a.b", {"HTTPS_PROXY": ""}) is None
    assert proxy_for("https", "a.b", {"ALL_PROXY": "x:1"}) == "http://x:1"
    assert proxy_for("http", "a.b", {"http_proxy": "https://x:1", "all_proxy": "y"}) == "https://x:1"
    for value in ("socks5://x:1", "http://"):
        with pytest.raises(UsageError, match="proxy for https"):
            proxy_for("https", "a.b", {"https_proxy": value})


def test_what_stands_before_the_at_is_for_the_proxy_alone() -> None:
    assert without_credentials("http://me:p%40ss@proxy:1") == ("http://proxy:1", "me:p@ss")
    assert without_credentials("http://me@proxy:1") == ("http://proxy:1", "me:")
    assert without_credentials("http://proxy:1") == ("http://proxy:1", "")
