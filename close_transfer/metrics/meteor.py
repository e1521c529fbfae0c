"""METEOR 1.5 (Denkowski and Lavie 2014), asked for counts by image and for scores of summed counts.

The program and its arguments are those of pycocoevalcap, whose class hands out no counts, may wait for ever
on a program with much to say, and leaves the program running until it is collected. The program takes seconds
of computing to load its tables, so all scorings of a Python process use one METEOR (`share_meteor`).
"""

import atexit
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import numpy as np
from pycocoevalcap.meteor import meteor

from close_transfer.core.arrays import Float64Array
from close_transfer.metrics.java import provide_java

_PROGRAM = Path(meteor.__file__).with_name(meteor.METEOR_JAR)
# Beyond pycocoevalcap's arguments only the serial collector, which halves the memory to about 600 MB: the
# program now stays until Python ends. Its answers are the same.
_COMMAND = ("java", "-XX:+UseSerialGC", "-jar", "-Xmx2G", str(_PROGRAM), "-", "-", "-stdio", "-l", "en", "-norm")

# The counts of a pair of sentences, in METEOR's order: lengths and function words of both; matches, for each
# of four matchers those of content and of function words, hypothesis and reference in turn; chunks; matched
# words of both.
_NUM_COUNTS = 23
_HYPOTHESIS_LENGTH, _REFERENCE_LENGTH, _CHUNKS = 0, 1, 20
_HYPOTHESIS_MATCHES, _REFERENCE_MATCHES = slice(4, 20, 2), slice(5, 20, 2)
_SEPARATOR = " ||| "


def _adjust_chunks(counts: Float64Array) -> Float64Array:
    """The counts as METEOR adds them up: a hypothesis equal to its reference counts no chunk."""
    equal = (
        (counts[:, _HYPOTHESIS_MATCHES].sum(axis=1) == counts[:, _HYPOTHESIS_LENGTH])
        & (counts[:, _REFERENCE_MATCHES].sum(axis=1) == counts[:, _REFERENCE_LENGTH])
        & (counts[:, _CHUNKS] == 1)
    )
    counts[equal, _CHUNKS] = 0
    return counts


class Meteor:
    """A running METEOR.

    Sentences are tokenised (`ptb.tokenize_ptb`) and may be empty. Captions take milliseconds, but the time for
    a pair grows faster than its length: seconds at a thousand words a side, minutes at three thousand.

    Args:
        command: the program and its arguments; `java` must be on the path.
    """

    def __init__(self, command: Sequence[str] = _COMMAND) -> None:
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the program)
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._messages
            )
        except BaseException:
            self._messages.close()
            raise
        assert self._process.stdin and self._process.stdout
        self._questions, self._answers = self._process.stdin, self._process.stdout

    @property
    def pid(self) -> int:
        """The process id of the program."""
        return self._process.pid

    def is_running(self) -> bool:
        """Return True if the program has not ended."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the program; a second call changes nothing."""
        self._process.kill()
        self._process.wait()
        self._answers.close()
        # What a failed program has not read would be written on closing, and cannot be.
        with suppress(BrokenPipeError):
            self._questions.close()
        self._messages.close()

    def count_matches(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Float64Array:
        """Counts of each image, whose sum over images gives their METEOR together; shape (images, 23)."""
        rows = []
        for hypothesis, group in zip(hypotheses, references, strict=True):
            # A separator within a sentence would make two of it.
            fields = [sentence.replace("|||", "") for sentence in (*group, hypothesis)]
            rows.append(self._ask(_SEPARATOR.join(["SCORE", *fields]), 1, _NUM_COUNTS)[0])
        return _adjust_chunks(np.array(rows).reshape(-1, _NUM_COUNTS))

    def compute_scores(self, sums: Float64Array) -> Float64Array:
        """METEOR of each row of summed counts, in percent; shape (rows,)."""
        rows = [" ".join(f"{count:.1f}" for count in row) for row in sums]
        # One answer a row, then the score of all rows together.
        answers = self._ask(_SEPARATOR.join(["EVAL", *rows]), len(rows) + 1, 1)
        return 100 * np.array([score for (score,) in answers[:-1]])

    def _ask(self, line: str, num_lines: int, num_numbers: int) -> list[list[float]]:
        try:
            self._questions.write(f"{line}\n".encode())
            self._questions.flush()
            answers = [self._answers.readline().split() for _ in range(num_lines)]
            numbers = [[float(word) for word in answer] for answer in answers]
        except (BrokenPipeError, ValueError) as error:
            raise self._build_error() from error
        if any(len(row) != num_numbers for row in numbers):
            raise self._build_error()
        return numbers

    def _build_error(self) -> RuntimeError:
        self._messages.seek(0)
        messages = self._messages.read().decode(errors="replace")[-2000:]
        return RuntimeError(f"METEOR ({_PROGRAM.name}) gave no numbers; its last messages:\n{messages}")


class SharedMeteor:
    """A METEOR that is started on first use and replaced if it ended.

    Args:
        command: as of `Meteor`.
    """

    def __init__(self, command: Sequence[str] = _COMMAND) -> None:
        self._command = command
        self._lock = threading.RLock()
        self._running: Meteor | None = None
        self._of_parent: list[Meteor | None] = []

    @contextmanager
    def lend(self) -> Iterator[Meteor]:
        """Lend the running METEOR to one thread at a time."""
        with self._lock:
            if self._running and not self._running.is_running():
                self.close()
            if self._running is None:
                with provide_java():
                    self._running = Meteor(self._command)
            try:
                yield self._running
            except BaseException:
                # An answer may be half read, and the next question would get the rest of it.
                self.close()
                raise

    def close(self) -> None:
        """End METEOR if it runs; the next scoring starts another."""
        with self._lock:
            ended, self._running = self._running, None
            if ended:
                ended.close()

    def leave_to_parent(self) -> None:
        """Forget METEOR in a forked process: two processes that ask one program take each other's answers."""
        self._of_parent.append(self._running)  # not collected, so that its pipes stay as they are
        self._running = None
        self._lock = threading.RLock()  # the old one may be held by a thread that does not exist here


_shared = SharedMeteor()
atexit.register(_shared.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shared.leave_to_parent)


def share_meteor() -> AbstractContextManager[Meteor]:
    """Lend the METEOR that all scorings of this Python process use, one thread at a time.

    It is started by the first scoring and ends with Python, however that ends: without Python, its input ends. A
    scoring that fails ends it too, and the next scoring starts another, as it does if the program died.
    """
    return _shared.lend()
