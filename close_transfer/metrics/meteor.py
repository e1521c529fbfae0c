"""METEOR 1.5 (Denkowski and Lavie 2014): counts of each image, and scores of summed counts.

The program and its arguments are those of pycocoevalcap. Its class is not used: it does not return counts, may wait
forever for a program that prints many messages, and leaves the program running until it is garbage-collected. The
program takes seconds to load its tables, so all scorings of a Python process share one (`share_meteor`).
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
# The serial garbage collector is not among pycocoevalcap's arguments. It halves the memory to about 600 MB, which the
# program holds until Python ends. The scores are the same.
_COMMAND = ("java", "-XX:+UseSerialGC", "-jar", "-Xmx2G", str(_PROGRAM), "-", "-", "-stdio", "-l", "en", "-norm")

# The counts of a pair of sentences, in METEOR's order: lengths and numbers of function words of both; for each of
# four matchers the matched content and function words, hypothesis and reference in turn; chunks; matched words of both.
_NUM_COUNTS = 23
_HYPOTHESIS_LENGTH, _REFERENCE_LENGTH, _CHUNKS = 0, 1, 20
_HYPOTHESIS_MATCHES, _REFERENCE_MATCHES = slice(4, 20, 2), slice(5, 20, 2)
_SEPARATOR = " ||| "


def _adjust_chunks(counts: Float64Array) -> Float64Array:
    """Set the chunks to 0 if hypothesis and reference are equal, as METEOR does when it sums the counts."""
    equal = (
        (counts[:, _HYPOTHESIS_MATCHES].sum(axis=1) == counts[:, _HYPOTHESIS_LENGTH])
        & (counts[:, _REFERENCE_MATCHES].sum(axis=1) == counts[:, _REFERENCE_LENGTH])
        & (counts[:, _CHUNKS] == 1)
    )
    counts[equal, _CHUNKS] = 0
    return counts


class Meteor:
    """Running METEOR program.

    Sentences must be tokenised (`ptb.tokenize_ptb`) and may be empty. Captions take milliseconds, but the time for
    a pair grows faster than its length: seconds for a thousand words per sentence, minutes for three thousand.

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
        """Return the process id of the program."""
        return self._process.pid

    def is_running(self) -> bool:
        """Return True if the program has not ended."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the program; a second call changes nothing."""
        self._process.kill()
        self._process.wait()
        self._answers.close()
        # Closing writes the remaining input, which fails if the program ended with an error.
        with suppress(BrokenPipeError):
            self._questions.close()
        self._messages.close()

    def count_matches(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Float64Array:
        """Count the matches of each image; sums of counts over images give METEOR of a corpus; shape (images, 23)."""
        rows = []
        for hypothesis, group in zip(hypotheses, references, strict=True):
            # A separator within a sentence would split it into two.
            fields = [sentence.replace("|||", "") for sentence in (*group, hypothesis)]
            rows.append(self._ask(_SEPARATOR.join(["SCORE", *fields]), 1, _NUM_COUNTS)[0])
        return _adjust_chunks(np.array(rows).reshape(-1, _NUM_COUNTS))

    def compute_scores(self, sums: Float64Array) -> Float64Array:
        """Compute METEOR of each row of summed counts, in percent; shape (rows,)."""
        rows = [" ".join(f"{count:.1f}" for count in row) for row in sums]
        # METEOR prints one score per row, then the score of all rows together.
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
        return RuntimeError(f"METEOR ({_PROGRAM.name}) returned no numbers. Its last messages:\n{messages}")


class SharedMeteor:
    """METEOR program that is started on first use, and replaced if it ended.

    Args:
        command: the program and its arguments, as for `Meteor`.
    """

    def __init__(self, command: Sequence[str] = _COMMAND) -> None:
        self._command = command
        self._lock = threading.RLock()
        self._running: Meteor | None = None
        self._of_parent: list[Meteor | None] = []

    @contextmanager
    def lend(self) -> Iterator[Meteor]:
        """Lend the running METEOR to one thread at a time, starting it if necessary."""
        with self._lock:
            if self._running and not self._running.is_running():
                self.close()
            if self._running is None:
                with provide_java():
                    self._running = Meteor(self._command)
            try:
                yield self._running
            except BaseException:
                # An answer may be half read, and the next request would get the rest of it.
                self.close()
                raise

    def close(self) -> None:
        """End METEOR if it runs; the next scoring starts another."""
        with self._lock:
            ended, self._running = self._running, None
            if ended:
                ended.close()

    def leave_to_parent(self) -> None:
        """Forget METEOR in a forked process, because two processes with one program would read each other's answers."""
        self._of_parent.append(self._running)  # collecting it would close the parent's pipes
        self._running = None
        self._lock = threading.RLock()  # the old one may be held by a thread that exists in the parent only


_shared = SharedMeteor()
atexit.register(_shared.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shared.leave_to_parent)


def share_meteor() -> AbstractContextManager[Meteor]:
    """Lend the METEOR that all scorings of this Python process use, one thread at a time.

    The first scoring starts it. It ends with Python, even if Python is killed, because its input is then closed. A
    failed scoring ends it too. If it has ended or died, the next scoring starts another one.
    """
    return _shared.lend()
