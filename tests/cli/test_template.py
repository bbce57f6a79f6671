from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.cli.template import freed, render
from buildah_py.errors import UsageError

VALUE = freed(
    {
        "Id": "sha256:abc",
        "RepoTags": ["a:1", "b:2"],
        "Size": 12,
        "Empty": None,
        "Yes": True,
        "Mounts": [{"To": "/a"}, {"To": "/b"}],
        "Config": {"Env": ["A=1", "B=2 3"], "Labels": {"z.y": "1", "b": "two"}, "Healthcheck": None},
    },
    ("Labels",),
)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ("{{.Id}}", "sha256:abc"),
        ("{{ .Id }} {{.Size}}!", "sha256:abc 12!"),
        ("{{.Config.Env}}", "[A=1 B=2 3]"),
        ("{{.Config.Labels}}", "map[b:two z.y:1]"),
        ("{{json .Config.Labels}}", '{"z.y":"1","b":"two"}'),
        ("{{.Config.Env | json}}", '["A=1","B=2 3"]'),
        ("{{json .Empty}} {{.Yes}} {{.Empty}}", "null true <no value>"),
        ('{{index .RepoTags 0}} {{index .Config.Labels "z.y"}}', "a:1 1"),
        ('{{index .Config.Labels "none"}}{{.Config.Labels.none}}', "<no value>"),
        ("{{(index .Mounts 1).To}} {{len (index .Mounts 0).To}} {{( .Config ).Labels.b}}", "/b 2 two"),
        ("{{range $p, $to := .Mounts}}{{$p}}{{(index $.Mounts $p).To}};{{end}}", "0/a;1/b;"),
        (r'{{"\x41\102\u0043\U00000044\n\"\\\xc3\xa9"}}', 'ABCD\n"\\é'),
        ("{{len .RepoTags}}", "2"),
        ("{{range .RepoTags}}<{{.}}>{{end}}", "<a:1><b:2>"),
        ("{{range $i, $e := .RepoTags}}{{$i}}={{$e}};{{end}}", "0=a:1;1=b:2;"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}", "b=two z.y=1 "),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{range .RepoTags}}{{$.Id}} {{end}}", "sha256:abc sha256:abc "),
        ("{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=2 3\n"),
        ("{{if .Empty}}a{{else if .Yes}}b{{else}}c{{end}}", "b"),
        ("{{if .Empty}}a{{else if .Empty}}b{{else}}c{{end}}.", "c."),
        ("{{if eq .Size 12}}twelve{{end}}{{if not .Empty}}!{{end}}{{if and .Yes (gt .Size 3)}}?{{end}}", "twelve!?"),
        ("{{with .Config}}{{len .Env}}{{end}}", "2"),
        ("{{with $c := .Config}}{{len $c.Env}}{{end}}", "2"),
        ('{{join .RepoTags ", "}} {{upper .Id}} {{slice .Id 7}}', "a:1, b:2 SHA256:ABC abc"),
        ('{{printf "%s|%-5d|%q|%v" .Id .Size "x" .RepoTags}}', 'sha256:abc|12   |"x"|[a:1 b:2]'),
        ("a {{- .Size -}} b", "a12b"),
        ("{{/* nothing */}}x", "x"),
        ("{{$x := .Size}}{{$x}}", "12"),
        ("{{.Config.Healthcheck.Test}}", "<no value>"),
        ('{{`raw`}} {{"}}"}}', "raw }}"),
    ],
)
def test_templates(template: str, expected: str) -> None:
    assert render(template, VALUE) == expected


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{.Ids}}", "no field `Ids`.*\n.*did you mean Id"),
        ("{{.Id.X}}", "no fields"),
        ("{{.Id", "never closed"),
        ("{{}}", "without anything"),
        ("{{jsn .}}", "no function `jsn`"),
        ("{{range .RepoTags}}", "`end` is missing"),
        ("{{end}}", "too many"),
        ("{{$x}}", r"no variable `\$x`"),
        ("{{index .RepoTags 7}}", "fails"),
        ("{{(len .Id}}", "`\\)` is missing"),
        ("{{.Id .Size}}", "no arguments"),
        ("{{| json}}", "missing"),
        ("{{@}}", "cannot be read"),
        ('{{printf "%d" .Id}}', "fails"),
        (r'{{"\q"}}', "an escape that means nothing"),
        (r'{{"\U00110000"}}', "an escape that means nothing"),
        (f"{{{{{'1' * 5000}}}}}", "too long for a number"),
    ],
)
def test_wrong_templates(template: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        render(template, VALUE)
    assert re.search(said, str(raised.value)), str(raised.value)


@given(st.text(alphabet='{}.$ ()|"-rangeidlsf:=,/*`\\1', max_size=40))
def test_any_text_is_a_template_or_an_error(template: str) -> None:
    with contextlib.suppress(UsageError):
        render(template, VALUE)
