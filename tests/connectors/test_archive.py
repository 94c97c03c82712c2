"""The archive of the input log: every message once, whole files or none, and no silence about what is missing."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from connectors import archive_files
from connectors.archive import Archive, ArchiveHeldError, ArchiveWriter, Limits, follow, refuse_lost
from connectors.archive_files import Archived, ArchiveError, Description, HoleError, Part

DESCRIBED = Description("md.ticks.v1", "topic-id", "cluster-id", 3, "single-object")
SMALL = Limits(rows=20)


class KilledError(Exception):
    """The process ends here."""


def messages(count: int = 100, partitions: int = 3, seed: int = 1) -> list[list[Archived]]:
    """Messages of every kind of content, by partition; the last partition gets none."""
    dice = np.random.default_rng(seed)
    nouns = (b"tick", b"heartbeat", b"sample", None)
    return [
        [
            Archived(
                partition,
                offset,
                1_700_000_000_000 + offset * 250 - int(dice.integers(0, 9000)),
                None if dice.random() < 0.1 else dice.bytes(int(dice.integers(0, 8))),
                None if dice.random() < 0.1 else dice.bytes(int(dice.integers(0, 200))),
                () if (noun := nouns[int(dice.integers(0, 4))]) is None else (("noun", noun),),
            )
            for offset in range(count if partition < partitions - 1 else 0)
        ]
        for partition in range(partitions)
    ]


def mixed(found: Sequence[Sequence[Archived]], seed: int = 2) -> Iterator[Archived]:
    """The partitions' messages in some interleaving."""
    dice, left = np.random.default_rng(seed), [list(one) for one in found]
    while any(left):
        partition = int(dice.integers(0, len(left)))
        for _ in range(int(dice.integers(1, 9))):
            if left[partition]:
                yield left[partition].pop(0)


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.parquet"))


def archived(folder: Path, found: Sequence[Sequence[Archived]], limits: Limits = SMALL) -> Archive:
    with ArchiveWriter(folder, DESCRIBED, limits) as writer:
        writer.take(mixed(found))
    return Archive(folder)


def test_every_message_comes_back_as_it_was_by_partition_and_offset(tmp_path: Path) -> None:
    found = messages()
    archive = archived(tmp_path, found)
    assert list(archive.everything()) == [message for one in found for message in one]
    assert archive.first == {0: 0, 1: 0, 2: -1}
    assert archive.next == {0: 100, 1: 100, 2: -1}
    assert archive.description == DESCRIBED


def test_any_span_of_offsets_can_be_read(tmp_path: Path) -> None:
    found = messages()
    archive = archived(tmp_path, found)
    for begin, end in ((0, 20), (19, 21), (33, None), (20, 20), (99, 500), (100, None), (0, 0)):
        assert list(archive.messages(1, begin, end)) == found[1][begin:end]


def test_files_are_bounded_and_named_by_partition_and_first_offset(tmp_path: Path) -> None:
    archived(tmp_path, messages())
    parts = [Part.of(path) for path in files(tmp_path)]
    assert {path.parent.name for path in files(tmp_path)} == {"partition-00000", "partition-00001"}
    assert [part.first for part in parts[:5]] == [0, 20, 40, 60, 80]
    assert {part.next - part.first for part in parts} == {20}
    assert parts[1].path.name == "00000000000000000020.parquet"


def test_a_file_is_also_bounded_in_bytes_and_so_is_what_waits(tmp_path: Path) -> None:
    many = [[Archived(0, offset, 0, b"", bytes(100), ()) for offset in range(50)]]
    archived(tmp_path / "one", many, Limits(bytes_=1_000))
    assert len(files(tmp_path / "one")) == 5
    archived(tmp_path / "all", messages(), Limits(held_bytes=3_000))
    assert len(files(tmp_path / "all")) > 2


def test_heartbeats_are_found_without_reading_the_values(tmp_path: Path) -> None:
    found = messages()
    offsets, times = archived(tmp_path, found).beats(0)
    beats = [message for message in found[0] if message.headers == (("noun", b"heartbeat"),)]
    assert offsets.tolist() == [message.offset for message in beats]
    assert times.tolist() == [message.ts for message in beats]
    assert len(beats) > 10


# kills


@pytest.mark.parametrize("kill", range(8))
@pytest.mark.parametrize("moved", [False, True])
def test_a_kill_at_any_file_leaves_no_hole_and_no_double(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: int, moved: bool
) -> None:
    found, settled = messages(), archive_files.settle
    passes = iter(range(1000))

    def settle(unfinished: Path, path: Path) -> None:
        if path.suffix != ".parquet" or next(passes) != kill:
            settled(unfinished, path)
            return
        if moved:
            settled(unfinished, path)
        raise KilledError

    monkeypatch.setattr(archive_files, "settle", settle)
    with pytest.raises(KilledError):
        archived(tmp_path, found)
    assert len(files(tmp_path)) == kill + moved
    assert moved or list(tmp_path.rglob("*.unfinished"))
    with ArchiveWriter(tmp_path, DESCRIBED, SMALL) as writer:
        next_ = writer.next
        assert not list(tmp_path.rglob("*.unfinished"))
        writer.take(mixed([one[max(next_[partition], 0) :] for partition, one in enumerate(found)]))
    assert list(Archive(tmp_path).everything()) == [message for one in found for message in one]
    assert writer.skipped == 0


def test_messages_read_again_from_the_beginning_are_passed_over(tmp_path: Path) -> None:
    found = messages()
    archived(tmp_path, [one[:50] for one in found])
    before = {path: path.read_bytes() for path in files(tmp_path)}
    with ArchiveWriter(tmp_path, DESCRIBED, SMALL) as writer:
        writer.take(mixed(found))
        assert writer.skipped == 100
    assert list(Archive(tmp_path).everything()) == [message for one in found for message in one]
    assert all(path.read_bytes() == content for path, content in before.items())


def test_an_error_writes_nothing_of_what_waits(tmp_path: Path) -> None:
    def killed() -> Iterator[Archived]:
        yield from mixed(messages())
        raise KilledError

    with pytest.raises(KilledError), ArchiveWriter(tmp_path, DESCRIBED) as writer:
        writer.take(killed())
    assert files(tmp_path) == []


# what is missing


def test_an_offset_that_is_left_out_is_refused(tmp_path: Path) -> None:
    found = messages()[0]
    with pytest.raises(HoleError, match="partition 0: the offsets 40 to 44 are missing"):
        archived(tmp_path, [[*found[:40], *found[45:]]])


def test_a_file_that_is_missing_between_others_is_refused(tmp_path: Path) -> None:
    archived(tmp_path, messages())
    files(tmp_path)[2].unlink()
    with pytest.raises(HoleError, match="the offsets 40 to 59 are missing between"):
        Archive(tmp_path)
    with pytest.raises(HoleError, match="the offsets 40 to 59 are missing between"):
        ArchiveWriter(tmp_path, DESCRIBED)


def test_two_files_of_the_same_offsets_are_refused(tmp_path: Path) -> None:
    archived(tmp_path, messages())
    copy = files(tmp_path)[1]
    copy.with_name(archive_files.file_name(25)).write_bytes(copy.read_bytes())
    with pytest.raises(ArchiveError, match="hold the same offsets"):
        Archive(tmp_path)


def test_a_damaged_file_is_told_by_name(tmp_path: Path) -> None:
    archived(tmp_path, messages())
    path = files(tmp_path)[1]
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match=path.name):
        list(Archive(tmp_path).everything())
    path.write_bytes(content[:200])
    with pytest.raises(ArchiveError, match=f"{path.name}.*restore it from a copy"):
        Archive(tmp_path)


def test_a_file_under_another_name_is_told(tmp_path: Path) -> None:
    archived(tmp_path, messages())
    path = files(tmp_path)[4]
    path.rename(path.with_name(archive_files.file_name(180)))
    files(tmp_path)[3].rename(path.with_name(archive_files.file_name(160)))
    for left in files(tmp_path)[:3]:
        left.unlink()
    with pytest.raises(ArchiveError, match="does not hold consecutive offsets from 160 on"):
        list(Archive(tmp_path).messages(0))


def test_what_the_topic_has_dropped_before_it_was_archived_is_told() -> None:
    refuse_lost({0: 100, 1: -1, 2: 7}, {0: 100, 1: 0, 2: 3})
    with pytest.raises(HoleError, match="partition 0: the offsets 100 to 119 are missing: the topic dropped them"):
        refuse_lost({0: 100}, {0: 120})
    with pytest.raises(HoleError, match="partition 1: the offsets 0 to 4 are missing"):
        refuse_lost({1: -1}, {1: 5})


def test_an_archive_begun_late_says_where_it_begins(tmp_path: Path) -> None:
    archive = archived(tmp_path, [one[30:] for one in messages()])
    assert archive.first == {0: 30, 1: 30, 2: -1}


# who may write


def test_an_archive_belongs_to_one_log(tmp_path: Path) -> None:
    archived(tmp_path, messages())
    for name, value in (("topic_id", "other"), ("cluster_id", "other"), ("partitions", 4), ("framing", "confluent")):
        other = Description(**{**DESCRIBED.__dict__, name: value})
        with pytest.raises(ArchiveError, match=f"archives another log: {name} is {value}"):
            ArchiveWriter(tmp_path, other)
    with pytest.raises(ArchiveError, match="is no archive"):
        Archive(tmp_path / "nowhere")


def test_an_archive_has_one_writer_at_a_time(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path, DESCRIBED), pytest.raises(ArchiveHeldError, match="another process writes"):
        ArchiveWriter(tmp_path, DESCRIBED)
    with ArchiveWriter(tmp_path, DESCRIBED):
        pass


def test_a_partition_that_the_topic_does_not_have_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ArchiveError, match="partition 3 is none of the 3"),
        ArchiveWriter(tmp_path, DESCRIBED) as writer,
    ):
        writer.take([Archived(3, 0, 0, b"", b"", ())])


# following


def test_following_writes_what_has_waited_long_enough_and_the_rest_when_it_ends(tmp_path: Path) -> None:
    now, found, seen = [0.0], messages()[0], list[int]()

    def batches() -> Iterator[Sequence[Archived]]:
        for number in range(10):
            seen.append(len(files(tmp_path)))
            yield found[number * 10 - 10 : number * 10 + 10] if number % 2 else ()
            now[0] += 3.0

    with ArchiveWriter(tmp_path, DESCRIBED, Limits(seconds=10.0), lambda: now[0]) as writer:
        follow(writer, batches())
        assert [Part.of(path).next for path in files(tmp_path)][-1] == 100
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert 1 <= seen[-1] < 5


def test_following_ends_when_it_is_told_to_and_keeps_what_it_has(tmp_path: Path) -> None:
    found, stopped = messages()[0], [False]

    def batches() -> Iterator[Sequence[Archived]]:
        yield found[:10]
        stopped[0] = True
        yield found[10:20]
        raise AssertionError("it was told to stop")

    with ArchiveWriter(tmp_path, DESCRIBED) as writer:
        follow(writer, batches(), lambda: stopped[0])
    assert list(Archive(tmp_path).messages(0)) == found[:20]
