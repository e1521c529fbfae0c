"""Lines of journals: every flipped bit is noticed and can be restored."""

import zlib

import pytest

from close_transfer.core.journal_lines import DamagedJournal, format_line, read_lines, restore_line, scan_lines

RECORD = {"event": "answer", "id": "abc", "items": [{"text": "a dög on a bench\u2028"}], "cost": 0.25}


def test_a_line_is_json_with_its_number_and_checksum():
    assert format_line(7, {"a": 1.5}) == '{"line": 7, "crc32": "1320e354", "a": 1.5}'
    assert zlib.crc32(b'7"a": 1.5}') == 0x1320E354


def test_every_flipped_bit_is_noticed_and_restored(tmp_path):
    path, line = tmp_path / "journal", format_line(1, RECORD).encode()
    for bit in range(8 * len(line)):
        changed = bytearray(line)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed + b"\n")
        with pytest.raises(DamagedJournal, match="line 1 does not match its checksum"):
            list(read_lines(path))
        assert restore_line(bytes(changed), 1) == RECORD
    assert restore_line(line[:-9] + b"!!" + line[-7:], 1) is None
    assert restore_line(b"", 1) is restore_line(b"{}", 1) is None


def test_lines_end_where_they_were_written(tmp_path):
    path = tmp_path / "journal"
    lines = [format_line(number, RECORD) + "\n" for number in (1, 2)]
    path.write_text("".join(lines) + "{", encoding="utf-8")
    size = len(lines[0].encode())
    assert list(read_lines(path)) == [(RECORD, size), (RECORD, 2 * size)]
    assert [line.problem for line in scan_lines(path)] == [None, None]
