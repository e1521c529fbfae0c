"""The program METEOR as a process: what starts it, ends it and replaces it. Its scores are in test_captions.py."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from close_transfer.metrics.meteor import SharedMeteor

# In METEOR's place, which takes seconds to start: the same number of counts for every question, and as the first its process.
STAND_IN = """
import os, sys
for line in sys.stdin:
    print(os.getpid(), *[0] * 22, flush=True)
"""


@pytest.fixture
def shared():
    started = SharedMeteor([sys.executable, "-c", STAND_IN])
    yield started
    started.close()


def ask(shared):
    """The process that answers."""
    with shared.lend() as meteor:
        assert meteor.count_matches(["a dog"], [["a cat"]])[0, 0] == meteor.pid
        return meteor


def test_one_process_answers_all(shared):
    assert ask(shared).pid == ask(shared).pid


def test_nothing_starts_before_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    SharedMeteor().close()


def test_a_dead_process_is_replaced(shared):
    dead = ask(shared)
    os.kill(dead.pid, signal.SIGKILL)
    while dead.is_running():
        time.sleep(0.01)
    assert ask(shared).pid != dead.pid


def test_a_process_that_dies_during_a_scoring_is_an_error_once(shared):
    with pytest.raises(RuntimeError, match="returned no numbers"), shared.lend() as meteor:
        os.kill(meteor.pid, signal.SIGKILL)
        while meteor.is_running():
            time.sleep(0.01)
        meteor.count_matches(["a dog"], [["a cat"]])
    ask(shared)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_a_process_does_not_outlive_a_failure(shared, error):
    with pytest.raises(error), shared.lend() as failed:
        raise error
    assert not failed.is_running()
    assert ask(shared).pid != failed.pid


def test_threads_take_turns(shared):
    inside, most = [], []

    def score():
        for _ in range(5):
            with shared.lend() as meteor:
                inside.append(1)
                most.append(len(inside))
                meteor.count_matches(["a dog"] * 3, [["a cat"]] * 3)
                inside.pop()

    threads = [threading.Thread(target=score) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1} and len(most) == 20


def test_a_forked_process_starts_its_own(shared):
    mine = ask(shared)
    child = os.fork()
    if child == 0:
        shared.leave_to_parent()
        other = ask(shared)
        shared.close()
        os._exit(0 if other.pid != mine.pid else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert ask(shared).pid == mine.pid, "the child left it alone"


def test_a_meteor_that_cannot_start_says_why():
    broken = SharedMeteor(["java", "-jar", "no-such.jar"])
    with pytest.raises(RuntimeError, match=r"(?s)returned no numbers.*no-such\.jar"), broken.lend() as meteor:
        meteor.count_matches(["a dog"], [["a cat"]])


ENDS = {
    "at its end": "",
    "by an error": "raise ZeroDivisionError",
    "by SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)",
    "by SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
}


def start_and_end(lend, end):
    """A Python process that asks once and ends; the process id of its METEOR."""
    program = f"""
import os, signal
from close_transfer.metrics.meteor import SharedMeteor, share_meteor
with {lend} as running:
    running.count_matches(["a dog"], [["a cat"]])
print(running.pid, flush=True)
{ENDS[end]}
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    return int(ended.stdout)


def wait_for_end(pid):
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists() and ") Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < deadline, "still running"
        time.sleep(0.05)


@pytest.mark.parametrize("end", ENDS)
def test_no_process_outlives_python(end):
    wait_for_end(start_and_end(f"SharedMeteor([{sys.executable!r}, '-c', {STAND_IN!r}]).lend()", end))


@pytest.mark.slow
@pytest.mark.parametrize("end", ["at its end", "by SIGKILL"])
def test_meteor_itself_does_not_outlive_python(end):
    wait_for_end(start_and_end("share_meteor()", end))
