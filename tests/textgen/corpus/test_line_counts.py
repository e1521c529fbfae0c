"""Numbers of lines next to plan and journal: lines that are missing at the end are damage."""

import pytest

from close_transfer.core.errors import UserError


@pytest.fixture
def extended(offline):
    """Corpus with 8 answered requests and 12 that are planned only."""
    assert offline.run("action=plan", "num_texts=20") == 0
    offline.settings = [setting for setting in offline.settings if not setting.startswith("num_texts=")]
    return offline


def cut(path, num):
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:num]))


def check_refused(made, num, action):
    before = made.read_files()
    with pytest.raises(
        UserError,
        match=rf"plan\.jsonl: is damaged \(it has {num} requests, and plan\.jsonl\.length counts 20\)\. "
        r"Restore it from a copy; or delete it and run .* num_texts=",
    ):
        made.run(f"action={action}")
    assert made.read_files() == before


def test_a_plan_that_is_cut_after_the_requests_that_were_sent_is_damage(extended):
    plan = extended.folder / "plan.jsonl"
    good = plan.read_bytes()
    cut(plan, 9)
    check_refused(extended, 9, "run")
    plan.unlink()
    assert extended.run("num_texts=20", "action=run") == 0
    assert plan.read_bytes() == good
    assert len(extended.answers()) == 20


@pytest.mark.slow
@pytest.mark.parametrize("num", [8, 19])
def test_every_action_notices_that_a_plan_is_cut(num, extended):
    cut(extended.folder / "plan.jsonl", num)
    for action in ("run", "plan", "status", "collect", "filter", "report", "repair"):
        check_refused(extended, num, action)


def test_a_plan_whose_last_line_has_no_end_is_damaged(offline):
    plan = offline.folder / "plan.jsonl"
    plan.write_bytes(plan.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"plan\.jsonl: is damaged \(line 8 is cut short\)"):
        offline.work().check_plan()


def test_a_damaged_length_of_the_plan_is_a_sentence(offline):
    length, work = offline.folder / "plan.jsonl.length", offline.work()
    good = length.read_bytes()
    for content in (b"", b"{}", b"[1]", b"\xff", good.replace(b"8", b"6", 1)):
        length.write_bytes(content)
        with pytest.raises(UserError, match=r"plan\.jsonl\.length: is damaged \(.*and delete plan\.jsonl\.length if"):
            work.check_plan()
    length.unlink()  # also as after a kill before it was written
    assert work.plan() == 8
    assert length.read_bytes() == good
