"""The store as its users see it: prune and its limits, fsck and repair, several builds at once."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Pybuild

pytestmark = pytest.mark.root

TEXT = "FROM busybox\nCOPY a.txt /\nRUN mkdir /d && echo 1 >/d/x\nRUN echo 2 >/d/y; rm /d/x\n"


def read_json(pybuild: Pybuild, *arguments: object, status: int = 0) -> dict[str, Any]:
    found = json.loads(pybuild.run(*arguments, "--format=json", status=status).stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture
def built(busybox: Pybuild) -> Pybuild:
    busybox.build(busybox.context(TEXT, a_txt="hi\n"))
    return busybox


def image_names(pybuild: Pybuild) -> list[str]:
    return sorted(image["repository"] for image in json.loads(pybuild.run("images", "--format=json").stdout))


def layer_with(pybuild: Pybuild, path: str) -> Path:
    homes = (pybuild.root / "layers").iterdir()
    (found,) = (home for home in homes if (home / "fs" / path).is_file() or (home / "fs" / path).is_dir())
    return found


# prune


def big(pybuild: Pybuild, name: str, kilobytes: int = 1000, label: str = "") -> None:
    text = f"FROM scratch\nCOPY big.bin /{name}\n" + (f"LABEL {label}\n" if label else "")
    pybuild.run("-t", name, pybuild.context(text, big_bin=os.urandom(kilobytes * 1000)))


def test_prune_takes_the_cache_and_leaves_images(built: Pybuild) -> None:
    built.build(built.context(TEXT.replace("echo 2", "echo 3"), a_txt="hi\n"))
    assert image_names(built) == ["<none>", "busybox", "test"]
    assert built.run("prune").stdout.startswith("removed "), "the image that lost its name"
    assert image_names(built) == ["busybox", "test"]
    built.run("rmi", "test")
    done = read_json(built, "prune")
    assert (done["layers"], done["images"]) == (3, [])
    assert image_names(built) == ["busybox"]
    assert built.build(built.context(TEXT, a_txt="hi\n")).outcomes() == ["RAN"] * 3


def test_a_step_that_nests_its_cache_deeply_harms_nobody(busybox: Pybuild) -> None:
    context = busybox.context(
        "FROM busybox\nRUN --mount=type=cache,target=/c p=$(for i in $(seq 15); do printf %0200d/ 0; done) "
        "&& mkdir -p /c/1000.1/x /c/a/$p /c/b/$p && mv /c/b /c/a/$p\n"
    )
    busybox.build(context, PYBUILD_MAX_USED_SPACE="1GB")
    assert "/c" in busybox.run("cache", "mounts", "ls").stdout
    busybox.run("du")
    context = busybox.context("FROM busybox\nRUN --mount=type=cache,target=/c ls /c\n")
    busybox.build(context, PYBUILD_CACHE_MOUNT_MAX="1GB", PYBUILD_MAX_USED_SPACE="1GB")
    assert busybox.run("cache", "mounts", "rm", "/c").stdout.startswith("removed 1 cache mount")
    assert os.listdir(busybox.root / "cache-mounts") == []


def test_prune_keeps_what_the_builds_of_named_images_need(busybox: Pybuild) -> None:
    text = "FROM busybox AS b\nCOPY a.txt /f\nRUN tr a-z A-Z </f >/g\nFROM busybox\nCOPY --from=b /g /h\n"
    context = busybox.context(text, a_txt="hi\n")
    busybox.build(context)
    assert read_json(busybox, "prune")["layers"] == 0
    assert busybox.build(context).outcomes() == ["HIT"] * 3
    would = read_json(busybox, "prune", "--all", "--dry-run")
    assert (would["layers"], len(would["images"])) == (4, 2)
    assert "would remove the image test:latest" in busybox.run("prune", "-a", "--dry-run").stdout
    busybox.run("rmi", "test")
    assert read_json(busybox, "prune")["layers"] == 3


def test_images_without_a_name_go_alone(built: Pybuild) -> None:
    changed = built.context(TEXT.replace("echo 2", "echo 3"), a_txt="hi\n")
    built.build(changed)
    done = read_json(built, "prune", "--images")
    assert (len(done["images"]), done["layers"], done["cache_mounts"]) == (1, 0, 0)
    assert image_names(built) == ["busybox", "test"]
    assert built.build(built.context(TEXT, a_txt="hi\n")).outcomes() == ["HIT"] * 3
    assert read_json(built, "prune", "--images", "--all", "--filter=label=none")["images"] == []
    assert (len(read_json(built, "prune", "--images", "-a")["images"]), image_names(built)) == (3, [])


def test_prune_all_leaves_nothing(built: Pybuild) -> None:
    shown = built.run("prune", "--all", "--force").stdout.splitlines()
    assert set(shown[:2]) == {"removed the image test:latest", "removed the image busybox:latest"}
    assert os.listdir(built.root / "layers") == os.listdir(built.root / "logs") == []
    assert read_json(built, "du")["parts"]["layers"] == 0


def test_a_cap_holds_by_real_blocks_and_the_oldest_goes_first(busybox: Pybuild) -> None:
    for name in "abc":
        big(busybox, name)
    busybox.run("run", "busybox", "true")
    busybox.run("cat", "a:/a")
    busybox.run("rmi", "a", "b", "c")
    assert read_json(busybox, "prune", "--max-used-space=1GB")["layers"] == 0
    done = read_json(busybox, "prune", "--max-used-space=4.5MB")
    assert done["layers"] >= 1
    used = subprocess.run(["du", "-s", "--block-size=1", busybox.root], check=True, capture_output=True, text=True)
    assert int(used.stdout.split()[0]) <= 4_500_000
    assert layer_with(busybox, "a").is_dir(), "it was used last"


def test_a_cap_that_images_exceed_is_told_and_all_makes_it_hold(busybox: Pybuild) -> None:
    big(busybox, "a")
    result = busybox.run("prune", "--max-used-space=1MB")
    assert "more than 1MB; --all removes images that have a name too" in result.stderr
    assert image_names(busybox) == ["a", "busybox"]
    busybox.run("prune", "--all", "--max-used-space=3MB")
    assert image_names(busybox) == ["a"], "the one that was used longest ago went"


def test_filters(busybox: Pybuild) -> None:
    big(busybox, "kept", label="keep=yes")
    big(busybox, "other")
    busybox.run("rmi", "other")
    assert read_json(busybox, "prune", "--all", "--filter=until=1h")["layers"] == 0
    assert read_json(busybox, "prune", "--all", "--filter", "label!=keep")["images"] == ["busybox:latest"]
    assert read_json(busybox, "prune", "--all", "--filter", "label=keep=no")["images"] == []
    assert read_json(busybox, "prune", "--filter", "until=0s")["layers"] == 1
    assert read_json(busybox, "prune", "-a", "--filter", "label=keep=yes")["images"] == ["kept:latest"]
    assert "until=24h" in busybox.run("prune", "--filter", "colour=red", status=2).stderr
    assert "neither a duration nor a time" in busybox.run("prune", "--filter", "until=soon", status=2).stderr
    assert "`2 apples` is not a size" in busybox.run("prune", "--keep-storage", "2 apples", status=2).stderr


def test_a_cache_mount_goes_with_prune(busybox: Pybuild) -> None:
    text = "FROM busybox\nRUN --mount=type=cache,target=/c dd if=/dev/zero of=/c/x bs=1000 count=500 2>/dev/null\n"
    busybox.build(busybox.context(text))
    (mount,) = read_json(busybox, "du")["cache_mounts"]
    assert mount["disk"] >= 500_000
    assert read_json(busybox, "prune")["cache_mounts"] == 0, "the next build of a name wants it"
    busybox.run("rmi", "test")
    done = read_json(busybox, "prune")
    assert (done["cache_mounts"], os.listdir(busybox.root / "cache-mounts")) == (1, [])
    assert done["freed"] >= 500_000


# limits


def test_a_build_keeps_to_the_configured_cap(busybox: Pybuild) -> None:
    config = busybox.work / "pybuild"
    config.mkdir()
    (config / "config.yaml").write_text("max_used_space: 5MB\n")
    for _ in range(4):
        context = busybox.context("FROM scratch\nCOPY big.bin /\n", big_bin=os.urandom(1_000_000))
        busybox.run(context, XDG_CONFIG_HOME=str(busybox.work))
    assert read_json(busybox, "du")["total"] <= 5_000_000
    assert image_names(busybox)[-1] == "busybox"
    shown = busybox.run(
        busybox.context("FROM scratch\nCOPY big.bin /\n", big_bin=os.urandom(1_500_000)),
        PYBUILD_MAX_USED_SPACE="1MB",
        XDG_CONFIG_HOME=str(busybox.work),
    ).stderr
    assert "more than the limit" in shown
    assert read_json(busybox, "du")["total"] < 5_000_000, "what this build made stays, nothing else that has no name"


def test_a_wrong_limit_is_told_and_does_not_fail_the_build(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN true\n")
    assert "`lots` is not a size" in busybox.run(context, PYBUILD_MAX_USED_SPACE="lots").stderr


def test_logs_and_what_is_known_of_contexts_are_bounded(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN echo hi\n")
    for number in range(150):
        (busybox.root / "logs" / f"17000000000000000{number:02}-1-1").mkdir()
        (busybox.root / "stat-cache" / str(number)).write_text("")
    busybox.build(context)
    assert len(os.listdir(busybox.root / "logs")) <= 101
    assert len(os.listdir(busybox.root / "stat-cache")) <= 101
    newest = max(os.listdir(busybox.root / "logs"))
    assert (busybox.root / "logs" / newest / "2.log").read_text() == "hi\n"


# fsck


def test_a_sound_store_is_clean(built: Pybuild) -> None:
    assert built.run("fsck").stdout == "4 layers, 2 images, 3 records: clean\n"
    assert read_json(built, "fsck")["faults"] == []


def damage_bytes(home: Path) -> None:
    (home / "fs/d/x").write_text("7\n")


def damage_mode(home: Path) -> None:
    (home / "fs/d/x").chmod(0o777)


def damage_presence(home: Path) -> None:
    (home / "fs/d/x").unlink()


def damage_length(home: Path) -> None:
    os.truncate(home / "fs/d/x", 0)


def damage_all(home: Path) -> None:
    shutil.rmtree(home)


@pytest.mark.parametrize("damage", [damage_bytes, damage_mode, damage_presence, damage_length, damage_all])
def test_a_damaged_layer_is_found_dropped_and_made_again(built: Pybuild, damage: Any) -> None:
    context = built.work / "context"
    damage(layer_with(built, "d/x"))
    (fault,) = read_json(built, "fsck", status=1)["faults"]
    assert fault["what"] == "layer"
    assert "with it test:latest" in built.run("fsck", "--repair").stdout
    assert "clean" in built.run("fsck").stdout
    assert image_names(built) == ["busybox"]
    assert built.build(context).outcomes()[:2] == ["HIT", "RAN"]
    assert built.sh("ls /d; cat /d/y") == "y\n2\n"


def test_a_layer_whose_directory_is_gone_is_made_again_by_the_build(built: Pybuild) -> None:
    shutil.rmtree(layer_with(built, "d/y"))
    assert "layers of the image `test` are missing" in built.run("run", "test", "true", status=125).stderr
    assert built.build(built.work / "context").outcomes() == ["HIT", "HIT", "RAN"]
    assert built.sh("cat /d/y") == "2\n"


def test_a_damaged_inventory_stops_what_needs_it_and_is_made_anew(built: Pybuild) -> None:
    inventory = layer_with(built, "bin/busybox") / "inventory"
    before = inventory.read_bytes()
    inventory.write_bytes(before.replace(b"busybox", b"busybax"))
    assert "is damaged" in built.run("layers", "test", status=125).stderr
    assert "made a new inventory" in built.run("fsck", "--repair").stdout
    assert inventory.read_bytes() == before
    assert "clean" in built.run("fsck").stdout
    built.run("layers", "test")


def test_a_database_that_is_none_is_replaced_and_layers_are_taken_back(built: Pybuild) -> None:
    (built.root / "state.db").write_bytes(b"something else" * 1000)
    assert "`pybuild fsck --repair` saves" in built.run("images", status=125).stderr
    assert "1 fault" in built.run("fsck", status=1).stdout
    assert built.run("fsck", "--repair").stdout.count("taken back") == 4
    assert "clean" in built.run("fsck").stdout
    taken = set(os.listdir(built.root / "layers"))
    built.run("bootstrap", "busybox")
    built.build(built.work / "context")
    assert built.sh("cat /d/y") == "2\n"
    assert taken <= set(os.listdir(built.root / "layers"))


def test_what_can_be_read_of_a_damaged_database_is_kept(built: Pybuild) -> None:
    path = built.root / "state.db"
    database = sqlite3.connect(path)
    (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'records'").fetchone()
    (size,) = database.execute("PRAGMA page_size").fetchone()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    assert built.run("fsck", status=1).stdout
    built.run("fsck", "--repair")
    assert "clean" in built.run("fsck").stdout
    assert image_names(built) == ["busybox", "test"]
    assert built.sh("cat /d/y") == "2\n"
    built.build(built.work / "context")


def test_wrong_rows_are_found(built: Pybuild) -> None:
    database = sqlite3.connect(built.root / "state.db")
    database.execute("UPDATE records SET data = CAST(replace(data, 'echo 2', 'echo 3') AS BLOB)")
    database.execute(
        "UPDATE configs SET data = CAST(replace(CAST(data AS TEXT), '/bin', '/BIN') AS BLOB) WHERE created > 0"
    )
    database.commit()
    database.close()
    assert "is damaged" in built.run("run", "test", "true", status=125).stderr
    kinds = sorted(fault["what"] for fault in read_json(built, "fsck", status=1)["faults"])
    assert kinds == ["image", "image", "record"]
    built.run("fsck", "--repair")
    assert built.run("fsck").stdout == "4 layers, 0 images, 2 records: clean\n"


def test_wrong_sizes_are_found_and_corrected(built: Pybuild) -> None:
    before = built.run("images", "--format=json").stdout
    database = sqlite3.connect(built.root / "state.db")
    database.execute("UPDATE layers SET size = size + 8704 WHERE entries > 0")
    database.commit()
    database.close()
    faults = read_json(built, "fsck", status=1)["faults"]
    assert {fault["what"] for fault in faults} == {"layer"}
    assert "are noted" in faults[0]["problem"]
    assert "noted the right size" in built.run("fsck", "--repair").stdout
    assert "clean" in built.run("fsck").stdout
    assert built.run("images", "--format=json").stdout == before


def test_a_record_that_leads_to_another_layer_is_a_miss(built: Pybuild) -> None:
    database = sqlite3.connect(built.root / "state.db")
    first, second = [row[0] for row in database.execute("SELECT key FROM records ORDER BY created")][:2]
    other = "(SELECT diff_id FROM records WHERE key = ?)"
    database.execute(f"UPDATE records SET diff_id = {other} WHERE key = ?", (first, second))
    database.commit()
    database.close()
    (fault,) = read_json(built, "fsck", status=1)["faults"]
    assert (fault["what"], fault["name"]) == ("record", second)
    assert "another layer" in fault["problem"]
    assert built.build(built.work / "context").outcomes().count("RAN") == 1
    assert built.sh("cat /d/y") == "2\n"
    assert "clean" in built.run("fsck").stdout


# several at once


def test_eight_builds_at_once_share_one_store(busybox: Pybuild) -> None:
    text = TEXT + "ARG WHO\nRUN echo $WHO >/who; head -c 100000 /dev/urandom >/r\n"
    context = busybox.context(text, a_txt="hi\n")
    commands: list[tuple[object, ...]] = [("prune",)] * 8
    commands += (("--progress=plain", "-t", f"t{n}", "--build-arg", f"WHO={n % 4}", context) for n in range(8))
    with ThreadPoolExecutor(len(commands)) as pool:
        shown = [done.stderr for done in pool.map(lambda words: busybox.run(*words), commands[::-1])]
    assert "clean" in busybox.run("fsck").stdout
    for number in range(8):
        assert busybox.sh("cat /who /d/y", f"t{number}") == f"{number % 4}\n2\n"
    ran = sum(text.count(" executed") and int(text.split(" executed")[0].split()[-1]) for text in shown)
    assert ran == 3 + 4, "every step was executed once"
