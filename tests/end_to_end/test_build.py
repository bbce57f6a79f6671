"""The main job: a build file becomes an image whose containers do what was written."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from typing import TYPE_CHECKING

import pytest

from .conftest import EXAMPLES

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Pybuild

pytestmark = [pytest.mark.root, pytest.mark.either_user]


def test_hello(busybox: Pybuild) -> None:
    busybox.run("-t", "hello", EXAMPLES / "hello")
    assert busybox.run("run", "hello").stdout == (
        "Hello from an image that pybuild made.\nHELLO FROM AN IMAGE THAT PYBUILD MADE.\n"
    )


def test_the_word_build_and_the_build_file_may_be_named(busybox: Pybuild) -> None:
    context = busybox.context("FROM scratch\n", greeting_txt="hi")
    (context / "other").write_text("FROM busybox\nCOPY greeting.txt /\nCMD cat /greeting.txt\n")
    busybox.run("build", "-f", context / "other", "-t", "a", "-t", "b:2", context)
    assert busybox.run("run", "a").stdout == "hi"
    assert busybox.run("run", "b:2").stdout == "hi"


@pytest.mark.parametrize("name", ["Buildfile", "Dockerfile", "Containerfile"])
def test_usual_names_of_the_build_file(busybox: Pybuild, name: str) -> None:
    context = busybox.work / "context"
    context.mkdir()
    (context / name).write_text("FROM busybox\nRUN echo hi > /hi\n")
    busybox.build(context)
    assert busybox.sh("cat /hi") == "hi\n"


def test_the_second_build_is_all_hits(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nWORKDIR /w\nCOPY a.txt .\nRUN cat a.txt > b\nRUN echo c > c\n", a_txt="1")
    assert busybox.build(context).outcomes() == ["RAN"] * 4
    first = busybox.run("inspect", "test").stdout
    assert busybox.build(context).outcomes() == ["HIT"] * 4
    assert busybox.run("inspect", "test").stdout == first


def test_what_changed_misses_from_there_on(busybox: Pybuild) -> None:
    text = "FROM busybox\nRUN echo start > /start\nCOPY a.txt /\nRUN cat /a.txt > /b\nRUN echo end >> /b\n"
    context = busybox.context(text, a_txt="1", other_txt="x")
    busybox.build(context)
    (context / "other.txt").write_text("not copied")
    (context / "a.txt").touch()
    assert busybox.build(context).outcomes() == ["HIT"] * 4
    (context / "a.txt").write_text("2")
    assert busybox.build(context).outcomes() == ["HIT", "RAN", "RAN", "RAN"]
    assert busybox.sh("cat /b") == "2end\n"
    (context / "Buildfile").write_text(text.replace("echo end", "echo END"))
    assert busybox.build(context).outcomes() == ["HIT", "HIT", "HIT", "RAN"]
    (context / "Buildfile").write_text(text)
    (context / "a.txt").write_text("1")
    assert busybox.build(context).outcomes() == ["HIT"] * 4, "both results are kept"


def test_a_changed_base_misses(busybox: Pybuild) -> None:
    base = busybox.context("FROM busybox\nRUN echo 1 > /v\n", "base")
    app = busybox.context("FROM base\nRUN cat /v > /w\n", "app")
    busybox.run("-t", "base", base)
    busybox.build(app)
    (base / "Buildfile").write_text("FROM busybox\nRUN echo 2 > /v\n")
    busybox.run("-t", "base", base)
    assert busybox.build(app).outcomes() == ["RAN"]
    assert busybox.sh("cat /w") == "2\n"


def test_equal_content_lets_later_steps_hit(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN echo same > /x\nRUN cat /x > /y\n")
    busybox.build(context)
    (context / "Buildfile").write_text("FROM busybox\nRUN printf 'same\\n' > /x\nRUN cat /x > /y\n")
    assert busybox.build(context).outcomes() == ["RAN", "HIT"]


def test_no_cache_runs_everything_and_gives_the_same_image(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN echo 1 > /x\nRUN echo 2 > /y\n")
    busybox.build(context)
    first = json.loads(busybox.run("inspect", "test").stdout)[0]["Pybuild"]["id"]
    assert busybox.build(context, "--no-cache").outcomes() == ["RAN", "RAN"]
    assert json.loads(busybox.run("inspect", "test").stdout)[0]["Pybuild"]["id"] == first


def test_stages(busybox: Pybuild) -> None:
    context = busybox.context(
        "FROM busybox AS one\nRUN echo 1 > /out\n"
        "FROM busybox AS unneeded\nRUN false\n"
        "FROM one AS two\nRUN echo 2 >> /out\n"
        "FROM busybox\nCOPY --from=one /out /one\nCOPY --from=2 /out /two\n"
    )
    shown = busybox.build(context).shown
    assert "RUN false" not in shown
    assert busybox.sh("cat /one /two") == "1\n1\n2\n"
    busybox.build(context, "--target", "two")
    assert busybox.sh("cat /out") == "1\n2\n"
    assert "no such stage" in busybox.run("--target", "tow", context, status=2).stderr


def test_independent_stages_run_side_by_side(busybox: Pybuild) -> None:
    # Each stage waits for a file that only the other one's shared cache mount brings: one by one they would not end.
    meet = "RUN --mount=type=cache,id=meet,target=/m touch /m/{0} && "
    meet += "for i in $(seq 100); do [ -e /m/{1} ] && exit 0; sleep 0.1; done; exit 9\n"
    context = busybox.context(
        "FROM busybox AS a\n"
        + meet.format("a", "b")
        + "FROM busybox AS b\n"
        + meet.format("b", "a")
        + "FROM scratch\nCOPY --from=a /bin/busybox /a\nCOPY --from=b /bin/busybox /b\n"
    )
    busybox.build(context)


def test_equal_steps_are_executed_once(busybox: Pybuild) -> None:
    step = "RUN sleep 0.3; echo x > /x\n"
    context = busybox.context(
        f"FROM busybox AS a\n{step}FROM busybox AS b\n{step}FROM busybox\nCOPY --from=a /x /a\nCOPY --from=b /x /b\n"
    )
    assert sorted(busybox.build(context).outcomes()) == ["HIT", "RAN", "RAN", "RAN"]


def test_variables(busybox: Pybuild) -> None:
    context = busybox.context(
        'ARG BASE=busybox\nFROM ${BASE}\nARG WHO=world\nENV GREETING=hello\nENV BOTH="$GREETING $WHO"\n'
        "ENV LATER=env http_proxy=http://in.file\nARG LATER=arg\n"
        "RUN echo $BOTH $WHO $LATER $http_proxy > /x\nLABEL who=$WHO\nCMD cat /x\n"
    )
    busybox.build(context)
    assert busybox.sh("cat /x") == "hello world world arg http://in.file\n"
    busybox.build(context, "--build-arg", "WHO=moon", "--build-arg", "http_proxy=http://given")
    assert busybox.sh("cat /x; echo $BOTH $LATER") == "hello moon moon arg http://given\nhello moon env\n"
    shown = busybox.build(context, "--build-arg", "NOBODY=1").shown
    assert "NOBODY" in shown


def test_the_image_config(busybox: Pybuild) -> None:
    context = busybox.context(
        'FROM busybox\nLABEL a=1 b="2 3"\nEXPOSE 80 53/udp\nVOLUME /data\n'
        "USER 1000:1000\nWORKDIR /srv/x\nSTOPSIGNAL SIGINT\n"
        'HEALTHCHECK --interval=5s CMD true\nSHELL ["/bin/sh", "-ec"]\nENTRYPOINT ["/bin/echo", "-n"]\nCMD ["hi"]\n'
        "ONBUILD RUN echo triggered > /tmp/t\nMAINTAINER me\n"
    )
    busybox.build(context)
    image = json.loads(busybox.run("inspect", "test").stdout)[0]["Pybuild"]
    config = image["config"]
    assert config["Labels"] == {"a": "1", "b": "2 3"}
    assert config["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert config["Volumes"] == {"/data": {}}
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("1000:1000", "/srv/x", "SIGINT")
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000}
    assert config["Shell"] == ["/bin/sh", "-ec"]
    assert config["OnBuild"] == ["RUN echo triggered > /tmp/t"]
    assert image["author"] == "me"
    assert len(image["rootfs"]["diff_ids"]) == sum(not item.get("empty_layer") for item in image["history"])
    assert busybox.run("run", "test").stdout == "hi"
    assert busybox.run("run", "test", "you").stdout == "you"
    child = busybox.context("FROM test\n", "child")
    busybox.run("-t", "child", child)
    assert (
        busybox.sh("cat /tmp/t; stat -c %u:%g /tmp/t; stat -c %u:%a /srv/x", "child")
        == "triggered\n1000:1000\n1000:755\n"
    )
    assert "OnBuild" not in json.loads(busybox.run("inspect", "child").stdout)[0]["Pybuild"]["config"]


def test_deleted_and_replaced_files(busybox: Pybuild) -> None:
    context = busybox.context(
        "FROM busybox\nRUN mkdir -p /d/e /o && touch /d/a /d/b /d/e/c /o/old\n"
        "RUN rm /d/a && rm -r /d/e && rm -r /o && mkdir /o && touch /o/new && ln -s b /d/link\n"
        "RUN rmdir /o 2>/dev/null; ls /d /o > /seen\n"
    )
    busybox.build(context)
    assert busybox.sh("ls -1 /d /o; cat /seen") == "/d:\nb\nlink\n\n/o:\nnew\n" + "/d:\nb\nlink\n\n/o:\nnew\n"


def test_nothing_of_the_sandbox_gets_into_a_layer(busybox: Pybuild) -> None:
    context = busybox.context(
        "FROM busybox\nRUN --mount=type=tmpfs,target=/mnt/deep/er touch /mnt/deep/er/x; "
        "echo 1.2.3.4 x >> /etc/hosts; touch /dev/shm/x /tmp/kept; cat /etc/hostname > /dev/null; "
        "sed -i s/./x/ /etc/hosts; rm /etc/resolv.conf\n"
    )
    shown = busybox.build(context, "-o", "type=oci,dest=out,tar=false").shown
    for path in ("hosts; --add-host", "resolv.conf; --dns"):
        name, _, option = path.partition("; ")
        assert f"Buildfile:2: what the step did to /etc/{name} is not kept" in shown
        assert f"each container gets its own; {option}" in shown
    layers = json.loads(busybox.run("inspect", "test").stdout)[0]["Pybuild"]["layers"]
    # /etc, in which something came and went, tmp and tmp/kept
    assert layers[-1]["entries"] == 3
    assert busybox.sh("grep -c 1.2.3.4 /etc/hosts; ls -d /mnt /.dockerenv 2>&1; ls /tmp").endswith("kept\n")


def test_a_host_name_that_a_step_writes_is_the_image_s(busybox: Pybuild) -> None:
    text = "FROM busybox\nRUN chmod -R go-w /etc\nRUN echo mine > /etc/hostname\nRUN cat /etc/hostname\n"
    built = busybox.build(busybox.context(text))
    assert " mine\n" in built.shown
    assert "is not kept" not in built.shown
    assert busybox.run("cat", "test:/etc/hostname").stdout == "mine\n"


def test_heredocs(busybox: Pybuild) -> None:
    context = busybox.context(
        "FROM busybox\nARG WHO=me\nRUN <<EOF\necho one > /x\necho $WHO >> /x\nEOF\n"
        "RUN <<EOF cat > /y\n  by $WHO\nEOF\n"
        "RUN <<EOF\n#!/bin/cat\nshown\nEOF\n"
        "COPY <<one <<'two' /files/\nfor $WHO\none\nfor $WHO\ntwo\n"
    )
    shown = busybox.build(context).shown
    assert re.search(r"#\d+ [0-9.]+ shown", shown)
    assert busybox.sh("cat /x /y /files/one /files/two") == "one\nme\n  by me\nfor me\nfor $WHO\n"


def test_users(busybox: Pybuild) -> None:
    context = busybox.context(
        "FROM busybox\nUSER www-data\nWORKDIR /w\nRUN id -u > id; echo $HOME > home\n"
        "COPY --chown=nobody:users a.txt b\n"
        "USER 12:34\nRUN id -u > /tmp/id; id -g >> /tmp/id\n",
        a_txt="1",
    )
    busybox.build(context)
    assert busybox.sh("cat /w/id /w/home /tmp/id; stat -c %u:%g /w /w/id /w/b") == (
        "33\n/var/www\n12\n34\n33:33\n33:33\n65534:100\n"
    )


def test_a_directory_of_a_user_who_is_not_there(busybox: Pybuild) -> None:
    shown = busybox.build(busybox.context("FROM busybox\nUSER nosuch\nWORKDIR /w\n")).shown
    assert "WORKDIR /w belongs to root" in shown
    assert busybox.run("run", "--user=0", "test", "stat", "-c", "%u:%g", "/w").stdout == "0:0\n"
    failed = busybox.build(busybox.context("FROM scratch\nUSER nosuch\nWORKDIR /w\n"), status=125)
    assert "no user `nosuch`" in failed.shown


def test_ignored_files_stay_out(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nCOPY . /c\n", a_txt="1", secret_txt="2", sub__b_txt="3", sub__c_txt="4")
    (context / ".dockerignore").write_text("secret*\nsub\n!sub/c.txt\nBuildfile\n.dockerignore\n")
    busybox.build(context)
    assert busybox.sh("cd /c; find . -type f | sort") == "./a.txt\n./sub/c.txt\n"
    (context / "secret.txt").write_text("changed")
    assert busybox.build(context).outcomes() == ["HIT"]


def test_import_of_a_directory_and_of_an_archive(busybox: Pybuild, tmp_path: Path) -> None:
    rootfs = tmp_path / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    program = shutil.which("busybox")
    assert program
    shutil.copy(program, rootfs / "bin/sh")
    (rootfs / "hi").write_text("hi\n")
    busybox.run("import", rootfs, "-t", "one")
    assert busybox.run("run", "--network=none", "one", "/bin/sh", "-c", "read x < /hi; echo $x").stdout == "hi\n"
    archive = shutil.make_archive(str(tmp_path / "rootfs"), "gztar", rootfs)
    busybox.run("import", archive, "-t", "two")
    assert busybox.run("run", "--network=none", "two", "/bin/sh", "-c", "read x < /hi; echo $x").stdout == "hi\n"
    assert "no such file" in busybox.run("import", tmp_path / "missing", "-t", "x", status=125).stderr


def test_images_rmi_and_prune(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN echo 1 > /x\n")
    busybox.build(context)
    listed = busybox.run("images").stdout
    assert re.search(r"^test +latest +[0-9a-f]{12} ", listed, re.MULTILINE)
    busybox.run("rmi", "test")
    assert "no image" in busybox.run("run", "test", status=125).stderr
    assert busybox.build(context).outcomes() == ["HIT"], "layers stay as cache"
    busybox.run("rmi", "test")
    assert "removed 0 images" in busybox.run("prune").stdout
    assert busybox.build(context).outcomes() == ["RAN"]
    busybox.run("prune", "--all")
    assert busybox.run("images", "-q").stdout == ""
    assert not list((busybox.root / "layers").iterdir())


def test_a_base_that_is_scratch(busybox: Pybuild) -> None:
    context = busybox.context(
        "FROM busybox AS b\nFROM scratch\nCOPY --from=b /bin/busybox /busybox\n"
        'RUN ["/busybox", "sh", "-c", "echo made > /made"]\n'
        'ENTRYPOINT ["/busybox", "cat", "/made"]\n'
    )
    busybox.build(context)
    assert busybox.run("run", "test").stdout == "made\n"
    image = json.loads(busybox.run("inspect", "test").stdout)[0]["Pybuild"]
    assert sum(layer["entries"] for layer in image["layers"]) == 2


def test_quiet_and_json(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN echo shown\n")
    result = busybox.run("-q", "--network=none", "-t", "test", context)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", result.stdout)
    assert result.stderr == ""
    lines = [json.loads(line) for line in busybox.run("--no-cache", "--progress=json", context).stderr.splitlines()]
    assert len(lines) > 4


def test_add_unpacks_archives(busybox: Pybuild) -> None:
    context = busybox.context(
        "FROM busybox\nADD a.tar.gz plain.txt /d/\nCOPY a.tar.gz /c/\nADD --unpack=false a.tar.gz /u/\n", plain_txt="p"
    )
    (context / "inner").mkdir()
    (context / "inner/x").write_text("x")
    shutil.make_archive(str(context / "a"), "gztar", context / "inner")
    busybox.build(context)
    assert busybox.sh("cat /d/x /d/plain.txt; ls /c /u") == "xp/c:\na.tar.gz\n\n/u:\na.tar.gz\n"


def test_a_bind_mount_shows_the_context_and_stages(busybox: Pybuild) -> None:
    context = busybox.context(
        "FROM busybox AS one\nRUN mkdir /o && echo stage > /o/s\nFROM busybox\n"
        "RUN --mount=type=bind,target=/ctx cat /ctx/a.txt > /seen; ls /ctx >> /seen; "
        "touch /ctx/x 2>/dev/null || echo ro >> /seen\n"
        "RUN --mount=type=bind,from=one,source=/o,target=/m,rw echo more >> /m/s && cat /m/s > /stage\n"
        "RUN --mount=type=bind,from=one,source=/o,target=/m cat /m/s >> /stage\n",
        a_txt="a\n",
        secret_txt="no",
    )
    (context / ".dockerignore").write_text("secret*\nBuildfile\n.dockerignore\n")
    busybox.build(context)
    assert busybox.sh("cat /seen /stage; ls -d /ctx /m 2>&1 | grep -c No") == "a\na.txt\nro\nstage\nmore\nstage\n2\n"
    assert busybox.build(context).outcomes() == ["HIT"] * 4
    (context / "secret.txt").write_text("changed")
    assert busybox.build(context).outcomes() == ["HIT"] * 4
    (context / "a.txt").write_text("b\n")
    assert busybox.build(context).outcomes()[:2] == ["HIT", "RAN"]
    assert busybox.sh("cat /seen").startswith("b\n")


def test_a_cache_mount_lasts_from_build_to_build(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN --mount=type=cache,target=/c echo x >> /c/log; cat /c/log > /seen\n")
    busybox.build(context)
    assert busybox.build(context).outcomes() == ["HIT"]
    busybox.build(context, "--no-cache")
    assert busybox.sh("cat /seen; ls /c 2>/dev/null; true") == "x\nx\n"


def test_a_linked_copy_asks_who_the_owner_is(pybuild: Pybuild) -> None:
    """The layer is the same on any base, but only where the names mean the same ids there."""
    for uid in (1000, 2000):
        context = pybuild.context(
            "FROM scratch\nCOPY passwd /etc/\nCOPY --link --chown=alice a /a\n",
            passwd=f"alice:x:{uid}:{uid}::/:/bin/sh\n",
            a="a",
        )
        pybuild.build(context, "-o", "type=tar,dest=out.tar")
        with tarfile.open(pybuild.work / "out.tar") as tar:
            assert tar.getmember("a").uid == uid


def test_copies_into_what_is_there(busybox: Pybuild) -> None:
    """Directories are merged and keep their modes; a link on the way is followed inside of the image."""
    context = busybox.context(
        "FROM busybox\nRUN mkdir -p /real/sub && echo old > /real/sub/f && ln -s /real /link && chmod 700 /real\n"
        "COPY d /link/\n",
        d__sub__g="new",
    )
    busybox.build(context)
    assert busybox.sh("cat /real/sub/f /real/sub/g; stat -c %a /real; readlink /link") == "old\nnew700\n/real\n"


def test_the_extensions_of_the_language(busybox: Pybuild) -> None:
    text = (
        "# syntax=pybuild/1\nARG MODE=small\nFROM busybox AS tools\nRUN echo tool > /tool\n"
        "FROM busybox\nARG MODE\nARG STAGE=tools\n"
        "INCLUDE parts/common.txt\nENV --from-run COUNT echo counted >&2; ls /parts | wc -l; touch /thrown-away\n"
        "COPY --from=$STAGE /tool /tool\nIF $MODE == big\nRUN echo big > /size\nELSE\nRUN echo small > /size\nEND\n"
        "RUN echo $COUNT > /count\nLABEL gone=1\nUNSET LABEL gone\nUNSET ENV OLD\n"
    )
    context = busybox.context(text, parts__common_txt="ENV OLD=1\nRUN mkdir /parts && touch /parts/a /parts/b\n")
    shown = busybox.build(context).shown
    assert "counted" in shown
    assert (
        busybox.sh("cat /tool /size /count; ls /thrown-away 2>/dev/null; echo [$OLD] $COUNT")
        == "tool\nsmall\n2\n[] 2\n"
    )
    image = json.loads(busybox.run("inspect", "test").stdout)[0]["Pybuild"]
    assert "Labels" not in image["config"]
    assert set(busybox.build(context).outcomes()) == {"HIT"}
    busybox.build(context, "--build-arg", "MODE=big")
    assert busybox.sh("cat /size") == "big\n"
    (context / "parts/common.txt").write_text("RUN mkdir /parts && touch /parts/a\n")
    busybox.build(context)
    assert busybox.sh("cat /count") == "1\n"
    (context / "Buildfile").write_text("# syntax=pybuild/1\nFROM busybox\nINCLUDE ../outside.txt\n")
    (busybox.work / "outside.txt").write_text("RUN true\n")
    assert "outside.txt" in busybox.build(context, status=125).shown
    (context / "Buildfile").write_text(text.partition("\n")[2])
    assert "INCLUDE" in busybox.build(context, status=125).shown, "without the directive nothing changes its meaning"


def test_looking_instead_of_building(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox AS one\nARG X=1\nENTRYPOINT a b\nFROM one\n")
    checked = busybox.run("build", "--call=check,format=json", context)
    found = json.loads(checked.stdout)
    assert found["valid"]
    assert [stage["name"] for stage in found["stages"]][:1] == ["one"]
    assert "JSONArgsRecommended" in {warning["rule"] for warning in found["warnings"]}
    assert "one" in busybox.run("build", "--call=targets", context).stdout
    assert "X" in busybox.run("build", "--call=outline", context).stdout
    (context / "Buildfile").write_text("FROM busybox\nNOPE\n")
    failed = json.loads(busybox.run("--call=check,format=json", context, status=1).stdout)
    assert failed["valid"] is False
    assert failed["errors"][0]["line"] == 2


def test_checks_are_shown_with_a_build(busybox: Pybuild) -> None:
    context = busybox.context('FROM busybox\nRUN true\nCMD ["a"]\n')
    assert "JSONArgsRecommended" not in busybox.build(context).shown
    (context / "Buildfile").write_text("FROM busybox\nRUN true\nCMD a b\n")
    built = busybox.build(context)
    assert built.outcomes() == ["HIT"]
    assert "JSONArgsRecommended" in built.shown
    assert "JSONArgsRecommended" in busybox.build(context).shown


def test_the_locale_changes_nothing(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nCOPY d /d\n")
    (context / "d").mkdir()
    (context / "d/\u00e9\u20ac").write_text("x")
    busybox.build(context, LC_ALL="C.UTF-8")
    assert busybox.build(context, LC_ALL="en_US.ISO-8859-1", PYTHONCOERCECLOCALE="0").outcomes() == ["HIT"]
    assert busybox.build(context, LC_ALL="POSIX", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0").outcomes() == ["HIT"]


def test_a_locked_cache_is_used_by_one_step_at_a_time(busybox: Pybuild) -> None:
    def context(sharing: str) -> Path:
        busy = f"target=/c,sharing={sharing} mkdir /c/busy || exit 9; sleep 0.5; rmdir /c/busy; echo {sharing}"
        steps = [f"FROM busybox AS {name}\nRUN --mount=type=cache,id=c,{busy} {name}\n" for name in "ab"]
        copies = [f"COPY --from={name} /bin/sh /{name}\n" for name in "ab"]
        return busybox.context("".join([*steps, "FROM scratch\n", *copies]))

    busybox.build(context("locked"))
    busybox.build(context("private"))
    busybox.build(context("shared"), status=9)


def test_a_cache_begins_with_what_from_holds(busybox: Pybuild) -> None:
    context = busybox.context(
        "FROM busybox AS seed\nRUN mkdir -p /s/d && echo seed > /s/d/f\nFROM busybox\n"
        "RUN --mount=type=cache,id=x,from=seed,source=/s,target=/c cat /c/d/f > /seen; echo more > /c/d/f\n"
        "RUN --mount=type=cache,id=x,from=seed,source=/s,target=/c cat /c/d/f >> /seen\n"
        "RUN --mount=type=cache,id=y,target=/c,mode=700,uid=5,gid=6 "
        "stat -c %a:%u:%g /c >> /seen; mkdir /c/sub; touch /c/sub/z\n"
        "RUN --mount=type=cache,id=y,source=sub,target=/c,mode=700,uid=5,gid=6 ls /c >> /seen\n"
        "RUN --mount=type=cache,id=../../../y,target=/c ls /c | wc -l >> /seen\n"
    )
    busybox.build(context)
    assert busybox.sh("cat /seen") == "seed\nmore\n700:5:6\nz\n0\n"
    missing = busybox.context("FROM busybox\nRUN --mount=type=cache,id=y,source=../../etc,target=/c true\n", "missing")
    assert "etc" in busybox.build(missing, status=125).shown


def test_variables_from_the_command_line(busybox: Pybuild) -> None:
    """They are the image's and the steps', they have the last word, and a step that does not change is a hit."""
    text = "FROM busybox AS base\nRUN echo $A-$B > /said\nFROM base\nENV B=file C=file\nRUN echo $B-$C >> /said\n"
    context = busybox.context(text)
    busybox.build(context, "--env=A=1", "--env", "B", B="outer")
    assert busybox.sh("cat /said; echo $A $B $C").split() == ["1-outer", "outer-file", "1", "outer", "file"]
    image = json.loads(busybox.run("inspect", "test").stdout)[0]["Pybuild"]
    assert image["config"]["Env"][1:] == ["A=1", "B=outer", "C=file"]
    assert busybox.build(context, "--env=A=1", "--env=B=outer").outcomes() == ["HIT", "HIT"]
    assert busybox.build(context, "--env=A=1", "--env=B=other").outcomes() == ["RAN", "RAN"]
    assert busybox.build(context).outcomes() == ["RAN", "RAN"]
    busybox.run("verify", "test")
