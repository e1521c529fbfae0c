import pytest

from close_transfer.core.atomic_files import fingerprint
from close_transfer.data.sources.held_out import choose_side

KEYS = [f"scene {number % 17}" for number in range(40)]


@pytest.mark.parametrize("share", [0.01, 0.2, 0.9])
def test_the_scenes_with_the_first_hashes_are_held_out(share):
    ordered = sorted(set(KEYS), key=lambda key: fingerprint(["validation", key]))
    held_out = ordered[: max(1, round(share * len(ordered)))]
    for split in ("train", "val"):
        sides, notes = choose_side(lambda: KEYS, len(KEYS), split, share)
        assert sides.tolist() == [(key in held_out) == (split == "val") for key in KEYS]
        assert notes == []


def test_one_scene_is_on_both_sides():
    sides, (note,) = choose_side(lambda: ["a", "a"], 2, "val", 0.05)
    assert sides.all()
    assert "one scene only" in note
