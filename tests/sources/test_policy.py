"""Rules of a source policy, as BuildKit's engine goes through them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.errors import SourceError, UsageError
from buildah_py.sources.policy import SourcePolicy, read_policy

if TYPE_CHECKING:
    from pathlib import Path

ALPINE = "docker.io/library/alpine:3.18"
DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def policy(tmp_path: Path) -> Any:
    def write(*rules: dict[str, Any]) -> SourcePolicy:
        path = tmp_path / "policy.json"
        path.write_text(json.dumps({"version": 1, "rules": rules}))
        return read_policy(str(path))

    return write


def rule(action: str | int, identifier: str, match: str = "WILDCARD", **more: Any) -> dict[str, Any]:
    constraints = {"constraints": more.pop("constraints")} if "constraints" in more else {}
    return {"action": action, "selector": {"identifier": identifier, "matchType": match, **constraints}, **more}


def test_the_last_rule_that_matches_counts(policy: Any) -> None:
    found = policy(rule("DENY", "docker-image://*"), rule("ALLOW", "docker-image://docker.io/library/*"))
    assert found.image(ALPINE) == ALPINE
    with pytest.raises(SourceError, match=r"docker-image://quay.io/a:1 is denied by the source policy .*policy.json"):
        found.image("quay.io/a:1")
    assert policy(rule("ALLOW", "docker-image://*"), rule(1, "*")).rules[1].action == "DENY"


@pytest.mark.parametrize(
    ("match", "identifier", "becomes", "wanted"),
    [
        ("EXACT", ALPINE, f"{ALPINE}@{DIGEST}", f"{ALPINE}@{DIGEST}"),
        ("WILDCARD", "docker.io/*", "mirror.example/${1}", "mirror.example/library/alpine:3.18"),
        ("WILDCARD", "*/alpine:*", "m.example/$1/a:$2", "m.example/docker.io/library/a:3.18"),
        ("REGEX", r"docker\.io/library/(?P<n>\w+):3\..*", "m.example/${n}", "m.example/alpine"),
        ("REGEX", r".*library/(\w+)", "m.example/$1", "m.example/alpine"),
    ],
)
def test_conversions(policy: Any, match: str, identifier: str, becomes: str, wanted: str) -> None:
    updates = {"identifier": f"docker-image://{becomes}"}
    assert policy(rule("CONVERT", f"docker-image://{identifier}", match, updates=updates)).image(ALPINE) == wanted


def test_what_is_converted_goes_through_all_rules_again(policy: Any) -> None:
    convert = rule("CONVERT", f"docker-image://{ALPINE}", updates={"identifier": "docker-image://evil.example/a"})
    with pytest.raises(SourceError, match=r"evil.example/a \(converted from docker-image://docker.io/library/alpine"):
        policy(rule("DENY", "docker-image://evil.example/*"), convert).image(ALPINE)
    circle = [
        rule("CONVERT", "docker-image://a", "EXACT", updates={"identifier": "docker-image://b"}),
        rule("CONVERT", "docker-image://b", "EXACT", updates={"identifier": "docker-image://a"}),
    ]
    with pytest.raises(SourceError, match="again and again"):
        policy(*circle).image("a")
    with pytest.raises(SourceError, match="of another kind"):
        policy(rule("CONVERT", "*", updates={"identifier": "https://a"})).image(ALPINE)


def test_files_and_repositories(policy: Any) -> None:
    pinned = policy(rule("CONVERT", "https://example.com/*", updates={"attrs": {"http.checksum": DIGEST}}))
    assert pinned.http("https://example.com/a") == ("https://example.com/a", DIGEST)
    assert pinned.http("http://example.com/a") == ("http://example.com/a", "")
    with pytest.raises(SourceError, match="--checksum says"):
        pinned.http("https://example.com/a", "sha256:" + "b" * 64)
    moved = policy(rule("CONVERT", "git://github.com/*", updates={"identifier": "git://mirror.example/${1}"}))
    assert moved.git("https://github.com/a/b.git#v1:sub") == "https://mirror.example/a/b.git#v1:sub"
    assert moved.git("https://gitlab.com/a/b.git") == "https://gitlab.com/a/b.git"
    no_git = policy(
        rule("DENY", "git://*", constraints=[{"key": "git.fullurl", "value": "^http:", "condition": "MATCHES"}])
    )
    assert no_git.git("https://a.example/b.git") == "https://a.example/b.git"
    for url in ("http://a.example/b.git", "http://user:pw@a.example/b.git#main"):
        with pytest.raises(SourceError, match="denied") as denied:
            no_git.git(url)
        assert "pw" not in denied.value.message
    with pytest.raises(SourceError, match="local://context is denied"):
        policy(rule("DENY", "local://*")).local("context")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "no list of `rules`"),
        ('{"rules": [], "rule": 1}', "`rule` means nothing"),
        ('{"rules": [1]}', "rule 1 is not an object"),
        ('{"rules": [{"action": "FORBID", "selector": {"identifier": "a"}}]}', "there are ALLOW, DENY, CONVERT"),
        ('{"rules": [{"action": "DENY", "selector": {"identifer": "a"}}]}', "`identifer` means nothing"),
        ('{"rules": [{"action": "DENY", "selector": {}}]}', "rule 1 has no identifier"),
        ('{"rules": [{"action": "CONVERT", "selector": {"identifier": "a"}}]}', "converts to nothing"),
        ('{"rules": [{"action": "DENY", "selector": {"identifier": "(", "matchType": "REGEX"}}]}', "not a regular"),
        (
            '{"rules": [{"action": "DENY", "selector": {"identifier": "a"}, "updates": {"identifier": "b"}}]}',
            "changes nothing",
        ),
    ],
)
def test_a_policy_that_cannot_be_read_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "policy.json"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        read_policy(str(path))
    assert str(path) in refused.value.message
    assert words in f"{refused.value.message} {refused.value.hint}"
