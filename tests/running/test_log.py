"""The log of a container: what is kept, and who follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.running.log import HEAD, LogWriter, pieces

if TYPE_CHECKING:
    from pathlib import Path


def texts(path: Path) -> list[tuple[int, bytes]]:
    return [(piece.stream, piece.data) for piece in pieces(str(path))]


def test_the_newest_output_stays(tmp_path: Path) -> None:
    log = tmp_path / "log"
    writer = LogWriter(str(log), most=3 * (HEAD.size + 10))
    for number in range(20):
        writer.write(1 + number % 2, b"piece %4d" % number)
    writer.close()
    assert 3 <= len(texts(log)) <= 6
    assert texts(log) == [(1 + number % 2, b"piece %4d" % number) for number in range(20 - len(texts(log)), 20)]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 6 * (HEAD.size + 10)


def test_who_follows_sees_every_piece_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    writer = LogWriter(str(log), most=4 * (HEAD.size + 3))
    writer.write(1, b"  0")
    numbers = iter(range(1, 10))

    def more() -> bool:
        number = next(numbers, None)
        if number is not None:
            writer.write(1, b"%3d" % number)
        return number is not None

    assert [int(piece.data) for piece in pieces(str(log), more)] == list(range(10))
    writer.close()


def test_a_piece_that_is_not_whole_is_left_for_later(tmp_path: Path) -> None:
    log = tmp_path / "log"
    writer = LogWriter(str(log))
    writer.write(2, b"whole")
    writer.close()
    with log.open("ab") as file:
        file.write(HEAD.pack(1, 0, 100) + b"begun")
    assert texts(log) == [(2, b"whole")]
