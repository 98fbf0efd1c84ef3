"""Ids: their form and their order."""

import itertools
import string
import time

import pytest
from coherent import ids


def test_id_is_16_letters_and_digits() -> None:
    for now in (0, 1, time.time_ns(), 62**9 * 1000 - 1):
        created = ids.new(now)
        assert len(created) == 16
        assert set(created) <= set(string.ascii_letters + string.digits)
        assert ids.is_id(created)


def test_ids_sort_by_creation_time() -> None:
    now = time.time_ns()
    times = [now + step * 1000 for step in (0, 1, 61, 62, 63, 3844, 10**6, 10**9, 10**15)]
    created = [ids.new(moment) for moment in times]
    assert created == sorted(created)


def test_nine_digits_are_microseconds_and_seven_random(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def highest(below: int) -> int:
        drawn.append(below)
        return below - 1

    monkeypatch.setattr("secrets.randbelow", highest)
    assert ids.new(61_999) == "00000000z" + "z" * 7
    assert ids.new(62_000) == "000000010" + "z" * 7
    assert drawn == [62**7] * 2


def test_ids_of_one_microsecond_differ() -> None:
    now = time.time_ns()
    assert len({ids.new(now) for _ in range(1000)}) == 1000


def test_creation_time_is_read_from_the_id() -> None:
    for now in itertools.chain([0], (10**exponent for exponent in range(4, 20))):
        assert ids.created_at(ids.new(now)) == now // 1000 / 1_000_000


def test_malformed_ids_are_recognised() -> None:
    for text in ("", "a" * 15, "a" * 17, "a" * 15 + "-", "a" * 15 + "é", "a" * 16 + "\n", "a" * 15 + "٣", None, 16):
        assert not ids.is_id(text)
