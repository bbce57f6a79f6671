"""Mistakes that people make, and the words that help: each is typed as it is made, and looked for on the screen."""

from __future__ import annotations

import http.server
import os
import re
import socket
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.foreign_images import Layout, tar_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Pybuild

pytestmark = pytest.mark.root


class Row(NamedTuple):
    """Text of a build file, options, the status, and what is shown (in this order) or, with `!`, is not."""

    text: str
    shown: tuple[str, ...]
    status: int = 125
    options: tuple[str, ...] = ()


def told(*words: str) -> tuple[str, ...]:
    return words


BUSYBOX = "FROM busybox\n"
ROWS = {
    "COPY of a missing file": Row(
        "COPY nowhere/x /", told("Buildfile:2: nowhere/x: the build context has no", "it holds")
    ),
    "COPY of a misspelt file": Row("COPY sr/app.py /", told("the build context has no sr/app.py", "did you mean src")),
    "COPY of an ignored file": Row(
        "COPY secret.txt /", told(".dockerignore line 1 .secret.txt. hides it", "line [!]secret.txt below it")
    ),
    "COPY from above": Row(
        "COPY ../above /",
        told("../above: `..` cannot leave the build context", "a directory above as the context", "--build-context"),
    ),
    "COPY from a misspelt stage": Row(
        "FROM busybox AS build\nFROM busybox\nCOPY --from=BIULD /a /", told(":4:", "hint: did you mean build?")
    ),
    "COPY from a stage further down": Row(
        "COPY --from=later /a /\nFROM busybox AS later\nFROM busybox",
        told("it needs to be defined before the current stage", "move the stage in front of this one"),
        options=("--target", "0"),
    ),
    "FROM a stage further down": Row(
        "FROM {registry}/none AS b\nFROM later AS y\nFROM busybox AS later\nFROM y",
        told("!did you mean", "hint: the stage later begins only in line 4: move it in front of this one"),
        options=("--pull=never",),
    ),
    "no such option of -f": Row("", told("did you mean -f Buildfile?"), options=("-f", "context/Buldfile")),
    "the registry is not there": Row(
        "FROM localhost:{nobody}/x:1 AS y\nFROM y",
        told(
            "the image `localhost:{nobody}/x:1` cannot be had",
            "Connection refused",
            "hint:",
            "is it running",
            "!did you mean",
        ),
    ),
    "the registry wants a login": Row(
        "FROM {registry}/private:2 AS y\nFROM y", told("401", "hint: `pybuild login {registry}`", "!did you mean")
    ),
    "the password is wrong": Row(
        "FROM {registry}/private:2 AS y\nFROM y",
        told("401", "hint: the credentials for {registry} are not right", "pybuild login", "!did you mean"),
        options=("--creds", "me:wrong"),
    ),
    "the registry has no such tag": Row(
        "FROM {registry}/named:2 AS y\nFROM y",
        told("there is no image `{registry}/named:2`: ", "404", "did you mean {registry}/named:1?"),
    ),
    "a platform that the image is not for": Row(
        "FROM {registry}/named:1 AS y\nFROM y",
        told(
            "cannot be had|there is no image",
            "404",
            "the one in the store is for linux/amd64, not for linux/arm64",
            "!did you mean",
        ),
        options=("--platform", "linux/arm64"),
    ),
    "a platform that is misspelt": Row(
        "", told("no architecture `amd63`", "did you mean amd64?"), 2, ("--platform", "linux/amd63")
    ),
    "a platform that is misspelt, alone": Row("", told("did you mean amd64?"), 2, ("--platform", "amd63")),
    "permission in RUN": Row(
        "USER 5\nRUN touch /root/x", told("Permission denied", "Buildfile:3: ", "hint: this step runs as the user 5"), 1
    ),
    "USER that is not there": Row("USER nope\nRUN true", told("no user `nope`", "add the user in an earlier RUN")),
    "--chown to a user that is not there": Row("COPY --chown=nope x /", told("no user `nope`", "/etc/passwd")),
    "an unknown instruction": Row("RUM true", told("unknown instruction: RUM", r"\n  \^\^\^\n", "did you mean RUN?")),
    "a command without RUN": Row(
        "rm -rf /", told("is RUN missing before it, or a `\\\\` on the line above?", "!did you mean")
    ),
    "a command like an instruction": Row("chmod +x /a", told("is RUN missing before it", "!did you mean")),
    "CMD without its ]": Row(
        'CMD ["a", "b"', told("CMD looks like a JSON array, and is run by the shell: its `]` is missing"), 0
    ),
    "CMD with single quotes": Row("CMD ['a']", told("JSON wants double quotes"), 0),
    "RUN with single quotes": Row(
        "RUN ['true']",
        told("status 127", "hint: RUN looks like a JSON array, and is run by the shell: JSON wants double"),
        127,
    ),
    "a quote that does not end": Row('ENV a="b', told(":2:", r"\^")),
    "EXPOSE of no port": Row("EXPOSE 99999", told(":2:", "99999")),
    "EXPOSE of a port of the host": Row("EXPOSE 80:80", told("'80:80' names an address or a port of the host"), 0),
    "a secret that was not given": Row(
        "RUN --network=none --mount=type=secret,id=tok cat /run/secrets/tok",
        told("Buildfile:2: the secret `tok` was not given: --secret id=tok,src=FILE", "can't open", "status 1"),
        1,
    ),
    "a secret that is not there, and a step that hits": Row(
        "RUN --network=none --mount=type=secret,id=hit true",
        told("secret hit: /nonesuch cannot be read: there is no such file"),
        options=("--secret", "id=hit,src=/nonesuch"),
    ),
    "a script with CRLF": Row(
        "COPY --chmod=755 crlf.sh /\nRUN --network=none true && \\\n  /crlf.sh",
        told(
            r"the first line of `/crlf.sh` \(line 4\) is `#!/bin/sh\\r`: its line ends are CRLF",
            "hint: save it with LF",
        ),
        127,
    ),
    "a script with CRLF in exec form": Row(
        'COPY --chmod=755 crlf.sh /\nRUN --network=none ["/crlf.sh"]',
        told(r"`/crlf.sh` is `#!/bin/sh\\r`: its line ends are CRLF"),
        127,
    ),
    "a script that is not executable": Row(
        "COPY plain.sh /\nRUN --network=none /plain.sh",
        told(r"`/plain.sh` is not executable \(mode 0644\)", "hint: copy it with `COPY --chmod=755`"),
        126,
    ),
    "an ENTRYPOINT that is not executable": Row(
        'COPY plain.sh /\nENTRYPOINT ["/plain.sh"]',
        told(r"warning: ENTRYPOINT: `/plain.sh` is not executable \(mode 0644\)", "COPY --chmod=755"),
        0,
    ),
    "a program of another libc": Row(
        "COPY --chmod=755 program /\nRUN --network=none /program",
        told("`/program` needs the loader /lib.*, which is not in the image", "hint: it was built for glibc"),
        127,
    ),
    "a program that is not there": Row(
        "RUN --network=none echo a && \\\n    nope -x && \\\n    echo c\nRUN true",
        told(
            "\na\n",
            r"Buildfile:2: the command ended with status 127: `nope` \(line 3\) is not in the image's PATH\n"
            r"  1 \|     FROM busybox\n  2 \| >>> RUN --network=none echo a && \\\n  3 \| >>>     nope -x && \\\n"
            r"  4 \| >>>     echo c\n  5 \|     RUN true\n"
            r"  hint: `pybuild shell --failed` opens a shell in what it left\n$",
        ),
        127,
    ),
    "a command of a chain that fails": Row(
        "RUN --network=none echo a && \\\n    ls /nope && \\\n    echo c",
        told(r"Buildfile:2: the command ended with status 1: `ls` \(line 3\) spoke last\n"),
        1,
    ),
    "a package manager that is not there": Row(
        "RUN --network=none apt-get update",
        told("`apt-get` is not in the image", "hint: this image has no package manager"),
        127,
    ),
    "no network": Row(
        "RUN --network=none wget http://example.com/",
        told("bad address", r"hint: this step has no network \(--network none\)"),
        1,
    ),
    "an ARG that is not in the stage": Row(
        "RUN --network=none test $V",
        told("hint: V is declared before the first FROM only, and empty here"),
        1,
    ),
    "an ARG that is not in the stage, unnoticed": Row(
        "RUN --network=none echo $V-",
        told("warning: .*3: PybuildGlobalArg: V is declared before the first FROM only"),
        0,
    ),
    "killed": Row(
        "RUN --network=none sh -c 'kill -9 $$'; exit $?", told("status 137: most likely .*SIGKILL", "dmesg"), 137
    ),
    "ended by a signal": Row("RUN --network=none kill -9 $$", told("the command was ended by SIGKILL", "dmesg"), 137),
    "a status that means something else": Row(
        "RUN --network=none exit 2", told("ended with status 2\n"), 9, ("--exit-code=9",)
    ),
    "a here-document that does not end": Row("RUN <<EOT\ntrue", told(":2:", "EOT")),
    "a mount of no type": Row("RUN --mount=type=bnid,target=/x true", told(":2:", "did you mean bind?")),
    "a flag of no instruction": Row("COPY --form=a x /", told(":2:", "did you mean --from?")),
}


@contextmanager
def registry() -> Iterator[str]:
    """Serve a registry that has nothing, and wants a password for what is private."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            private = "/private/" in self.path
            self.send_response(401 if private else 200 if self.path == "/v2/" else 404)
            if private:
                self.send_header("WWW-Authenticate", 'Basic realm="tests"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"localhost:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def missing(shown: str, words: tuple[str, ...]) -> list[str]:
    """List the words that are not shown in their order, and those that are and should not be."""
    found: list[str] = []
    at = 0
    for word in words:
        if word.startswith("!"):
            found += [word] if word[1:] in shown else []
        elif (match := re.compile(word).search(shown, at)) is not None:
            at = match.start() + 1
        else:
            found.append(word)
    return found


def test_every_mistake_gets_words_that_help(busybox: Pybuild) -> None:
    context = busybox.context(
        "",
        src__app_py="1",
        x="1",
        secret_txt="s",
        crlf_sh="#!/bin/sh\r\necho\r\n",
        plain_sh="#!/bin/sh\n",
        program=Path("/bin/true").read_bytes(),
    )
    (context / ".dockerignore").write_text("secret.txt\n")
    with registry() as host, socket.create_server(("127.0.0.1", 0)) as nobody:
        port = str(nobody.getsockname()[1])
        nobody.close()
        busybox.run("tag", "busybox", f"{host}/named:1")
        busybox.run(
            "-q",
            "--secret",
            "id=hit,env=HIT",
            "-f",
            "-",
            context,
            stdin=f"{BUSYBOX}{ROWS['a secret that is not there, and a step that hits'].text}\n",
            HIT="1",
        )
        wrong = {}
        for name, row in ROWS.items():
            text, *words = (one.replace("{registry}", host).replace("{nobody}", port) for one in (row.text, *row.shown))
            lines = f"{'ARG V=1' if '$V' in text else ''}\n{BUSYBOX}{text}\n".lstrip()
            (context / "Buildfile").write_text(lines)
            done = busybox.run("-q", *row.options, context, status=None)
            lacking = missing(done.stderr, tuple(words))
            if lacking or done.returncode != row.status or done.stderr.count("the command ") > 1:
                wrong[name] = (done.returncode, lacking, done.stderr)
    assert not wrong, "\n".join(f"{name}: {status}, {words}\n{shown}" for name, (status, words, shown) in wrong.items())


def test_a_context_that_is_a_file(busybox: Pybuild) -> None:
    context = busybox.context(BUSYBOX)
    assert (
        "name a build file with -f and its directory as CONTEXT" in busybox.run(context / "Buildfile", status=2).stderr
    )
    shown = busybox.run("images", status=125, PYBUILD_ROOT="/proc/nothing").stderr
    assert "name a directory of yours with PYBUILD_ROOT" in shown


def test_a_full_disk_says_which(tmp_path: Path, pybuild: Pybuild) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True)
    try:
        pybuild.root = disk / "state"
        pybuild.run("bootstrap", "busybox")
        context = pybuild.context("", big_bin=os.urandom(12 << 20))
        full = (
            rf"no space left in {disk}/state: the file system at {disk} \(tmpfs, 8 MB\) has \d\.\d MB left",
            "hint: `pybuild du` shows what takes how much, `pybuild prune` frees some; PYBUILD_ROOT",
        )
        layout = Layout(tmp_path / "layout")
        layout.name(layout.image([layout.layer(tar_of({"big": "x" * (12 << 20)}), "")]), "big")
        for text in ("COPY big.bin /", "RUN --network=none cat /dev/zero > /big", "FROM far\nRUN --network=none /big"):
            (context / "Buildfile").write_text(f"{BUSYBOX}{text}\n")
            options = ("-q", f"--build-context=far=oci-layout://{layout.path}:big")
            shown = pybuild.run(*options, context, status=125).stderr
            assert missing(shown, (r"Buildfile:\d: ", *full)) == [], shown
    finally:
        subprocess.run(["umount", disk], check=True)
