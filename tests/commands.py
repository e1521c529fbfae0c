"""Commands run in this process as their scripts run them, because a new process would import everything again."""

import io
import runpy
import signal
import sys
import threading
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

from tests.conftest import REPOSITORY


@dataclass(frozen=True)
class Ended:
    """End of a command: its exit status and its output."""

    status: int
    out: str
    err: str


def run_command(script: str, *arguments: str) -> Ended:
    """Run `scripts/<script>.py`; like Python, print an exception that it does not catch and set the status to 1."""
    # As in a terminal, standard output refuses a lone surrogate and standard error escapes it.
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace", write_through=True)
    before, hook = sys.argv, threading.excepthook
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    sys.argv = [f"{script}.py", *arguments]
    status = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            runpy.run_path(str(REPOSITORY / "scripts" / f"{script}.py"), run_name="__main__")
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:
            traceback.print_exc()
            status = 1
        finally:
            sys.argv, threading.excepthook = before, hook
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return Ended(status, out.buffer.getvalue().decode(), err.buffer.getvalue().decode())
