"""Children end with their parent, also if it is killed: they release what they hold."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from tests.conftest import REPOSITORY

# Each holds a lock, and shows it by a file.
HOLD = "from filelock import FileLock; from pathlib import Path; import time; lock = FileLock('lock'); lock.acquire(); "
HOLD += "Path('held').touch(); time.sleep(120)"
PARENTS = {
    "a worker of a pool": "from tests.core.test_child_processes import hold; "
    "from close_transfer.core.child_processes import open_pool\n"
    "if __name__ == '__main__':\n    open_pool(1).submit(hold).result()",
    "a program": "import sys; from pathlib import Path; from close_transfer.core.child_processes import run_with_parent; "
    f"run_with_parent([sys.executable, '-c', {HOLD!r}], Path())",
    "Java": "import sys; from pathlib import Path; from close_transfer.metrics.java import run_java; "
    f"run_java(['-c', {HOLD!r}], Path(), java=sys.executable)",
}


def hold():
    exec(HOLD)


@pytest.mark.parametrize("child", PARENTS)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a program with its parent")
def test_children_end_with_a_killed_parent(child):
    Path("parent.py").write_text(PARENTS[child])
    with subprocess.Popen([sys.executable, "parent.py"], env={"PYTHONPATH": str(REPOSITORY)}) as parent:
        deadline = time.monotonic() + 60
        while not Path("held").exists() and parent.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert Path("held").exists()
        parent.kill()
    with FileLock("lock", timeout=20):
        pass
