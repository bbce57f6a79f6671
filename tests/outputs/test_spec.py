from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.errors import UsageError
from buildah_py.outputs import spec
from buildah_py.outputs.annotations import Annotation
from buildah_py.outputs.spec import Output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("out", Output(type="local", dest="out")),
        ("./a b", Output(type="local", dest="./a b")),
        ("-", Output(type="tar", dest="-")),
        ("type=local,dest=out", Output(type="local", dest="out")),
        ("type=local,dest=out,mode=delete", Output(type="local", dest="out", mode="delete")),
        ("type=tar", Output(type="tar", dest="-")),
        ("type=oci", Output(type="oci", dest="-")),
        ("type=docker", Output(type="docker")),
        ("type=tar,dest=-", Output(type="tar", dest="-")),
        ("type=oci,dest=x.tar", Output(type="oci", dest="x.tar")),
        ("type=oci,dest=x=y.tar", Output(type="oci", dest="x=y.tar")),
        ("type=oci,dest=x,tar=false", Output(type="oci", dest="x", tar=False)),
        ("TYPE=oci,Dest=x,tar=T", Output(type="oci", dest="x")),
        ('type=oci,"dest=a,b ""c"""', Output(type="oci", dest='a,b "c"')),
        ('type=docker,"name=a:1,b:2"', Output(type="docker", names=("a:1", "b:2"))),
        (
            "type=oci,dest=x,compression=zstd,compression-level=19,force-compression=true",
            Output(type="oci", dest="x", compression="zstd", level=19, force_compression=True),
        ),
        ("type=registry,name=a", Output(type="image", names=("a",), push=True)),
        ("type=image,push=true,oci-mediatypes=0", Output(type="image", push=True, oci_media_types=False)),
        ("type=image,registry.insecure=1,push-by-digest=1", Output(type="image", insecure=True, push_by_digest=True)),
        ("type=image,rewrite-timestamp=true", Output(type="image", rewrite_timestamp=True)),
        ("type=image,push-by-digest=true,name-canonical=true", Output(type="image", push_by_digest=True)),
        ("type=image,store=true,unpack=0", Output(type="image")),
        ("type=cacheonly", Output(type="cacheonly")),
        (
            "type=image,annotation.Key=v,annotation-index[linux/amd64].a.b=",
            Output(
                type="image",
                annotations=(Annotation("manifest", "", "Key", "v"), Annotation("index", "linux/amd64", "a.b", "")),
            ),
        ),
    ],
)
def test_what_is_said(text: str, expected: Output) -> None:
    assert spec.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("", "empty", "type="),
        ("dest=x", "which type", "oci"),
        ("type=oic,dest=x", "no type `oic`", "did you mean oci?"),
        ("type=frobnicate", "no type `frobnicate`", "cacheonly"),
        ("type=oci,dst=x", "no attribute `dst`", "did you mean dest?"),
        ("type=oci,frobnicate=x", "no attribute `frobnicate`", "choose from name"),
        ("type=cacheonly,dest=x", "no attribute `dest`", "there are none"),
        ("type=local,annotation.a=b,dest=x", "no attribute `annotation.a`", "dest"),
        ("type=oci,dest", "`dest` has no value", "dest=FILE"),
        ("type=oci,dest=", "`dest` is empty", "name a file"),
        ("type=oci,dest=a,dest=b", "given twice", ""),
        ("type=image,store=false", "no attribute `store`", "push"),
        ("type=registry,unpack=maybe", "neither true nor false", "unpack=true"),
        ("type=oci,tar=no,dest=x", "neither true nor false", "tar=true"),
        ("type=oci,tar=false", "which directory", "dest="),
        ("type=oci,tar=false,dest=-", "which directory", "dest="),
        ("type=local", "which directory", "dest="),
        ("type=local,dest=-", "which directory", "dest="),
        ("type=local,dest=x,mode=move", "no mode `move`", "copy and delete"),
        ("type=oci,compression=gzp", "no compression `gzp`", "did you mean gzip?"),
        ("type=oci,compression=lzma2", "no compression `lzma2`", "zstd"),
        ("type=oci,compression-level=10", "not a level of gzip", "0 to 9"),
        ("type=oci,compression=zstd,compression-level=23", "not a level of zstd", "0 to 22"),
        ("type=oci,compression-level=-1", "not a level", "0 to 9"),
        ("type=oci,annotation-manfest.a=b", "not an annotation", "LEVEL"),
        ("type=oci,annotation=b", "not an annotation", "LEVEL"),
        ('type=oci,"dest=a', "unexpected end", "quotes"),
        ("type=oci\ndest=a", "several lines", ""),
    ],
)
def test_what_is_wrong(text: str, said: str, hint: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        spec.parse(text)
    assert f"--output {text}" in raised.value.message
    assert hint in raised.value.hint


@given(st.text(alphabet=st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_any_file_can_be_quoted(name: str) -> None:
    quoted = '"dest=' + name.replace('"', '""') + '"'
    assert spec.parse(f"type=oci,{quoted}").dest == name


@given(st.text(alphabet='typeoci=,dest".- \n', max_size=15))
def test_any_text_is_an_output_or_an_error(text: str) -> None:
    try:
        made = spec.parse(text)
    except UsageError:
        return
    assert made.type
