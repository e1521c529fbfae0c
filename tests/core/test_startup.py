"""Ctrl-C in the first seconds of a command: one line, the exit status of a shell, and no traceback."""

import gc
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest

from close_transfer.core.startup import loading_libraries
from tests.conftest import REPOSITORY, SMALL

SCRIPTS = sorted(path.name for path in (REPOSITORY / "scripts").glob("*.py"))
# A library that swallows every exception while it is imported, as some do.
LIBRARY = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.{name})
    time.sleep(9)
except BaseException:
    pass
def run():
    print("run")
"""
# Ends of a command that was interrupted, with another signal at its moment.
AGAIN = {
    "while the first is handled": """
def run():
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        os.kill(os.getpid(), signal.{name})
        time.sleep(9)
""",
    "while Python waits for threads": """
def run():
    def send():
        threading.main_thread().join()
        for _ in range(90):  # one may come just before Python waits, which then notices the next one only
            signal.pthread_kill(threading.main_thread().ident, signal.{name})
            time.sleep(0.1)
        os._exit(1)
    threading.Thread(target=send).start()
    sys.exit(130)
""",
    "while Python unloads modules": """
class Unloaded:
    def __del__(self, kill=os.kill, own=os.getpid(), number=int(signal.{name})):
        kill(own, number)
module = Unloaded()
def run():
    sys.exit(130)
""",
}
# Libraries that take long to load. The tasks, which check their names and settings, load the scorers: a tenth of a second.
HEAVY = {"accelerate", "datasets", "matplotlib", "open_clip", "openai", "pandas", "peft"} | {
    "scipy", "sklearn", "tensorboard", "timm", "torch", "torchvision", "transformers"
}  # fmt: skip
# One command of each package; the others are slow together.
QUICK = {"train_text_only.py", "synthesize_captions.py"}
# Prints the libraries that were loaded on the way, at the exit.
WATCHED = """
import atexit, runpy, sys
atexit.register(lambda: print("\\nloaded", *{{name.partition(".")[0] for name in sys.modules}}))
sys.argv = [{script!r}, {argument!r}]
runpy.run_path({script!r}, run_name="__main__")
"""
ENDS = {"SIGINT": (130, "interrupted\n"), "SIGTERM": (143, "stopped by SIGTERM. Run the same command again")}


def start(*arguments):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), "."])}
    # A shell starts its background jobs with Ctrl-C ignored, and the tests may be one of them.
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **pipes,
    )


@pytest.mark.parametrize("name", ENDS)
def test_a_signal_within_an_import_ends_at_once(name):
    Path("library.py").write_text(LIBRARY.format(name=name))
    with start("-c", "from close_transfer.core.startup import start; start('library')") as process:
        out, err = process.communicate(timeout=60)
    status, message = ENDS[name]
    assert (process.returncode, out) == (status, "")
    assert err.startswith(message)
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("moment", "name", "status"),
    [
        *((moment, "SIGINT", 130) for moment in AGAIN),
        ("while Python waits for threads", "SIGTERM", 143),
        ("while Python unloads modules", "SIGTERM", 130),
    ],
)
def test_another_signal_at_the_end_has_the_status_of_a_signal(moment, name, status):
    Path("library.py").write_text("import os, signal, sys, threading, time" + AGAIN[moment].format(name=name))
    with start("-c", "from close_transfer.core.startup import start; start('library')") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (status, "", "")


# Runs `python -m close_transfer some_command`, without loading what the commands need.
MODULE = """
import library, runpy, sys, types
cli = sys.modules["close_transfer.cli"] = types.ModuleType("close_transfer.cli")
cli.COMMANDS = {"some": types.SimpleNamespace(list_scripts=lambda: {"some_command": {}})}
cli.run = lambda script: library.run()
sys.argv = ["close_transfer", "some_command"]
runpy.run_module("close_transfer", run_name="__main__")
"""


@pytest.mark.parametrize("moment", ["while the first is handled", "while Python waits for threads"])
def test_the_same_holds_for_the_module(moment):
    Path("library.py").write_text("import os, signal, sys, threading, time" + AGAIN[moment].format(name="SIGINT"))
    with start("-c", MODULE) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")


def test_garbage_is_collected_after_the_imports_as_before():
    for was_enabled in (True, False):
        (gc.enable if was_enabled else gc.disable)()
        with suppress(ImportError), loading_libraries():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() == was_enabled
    gc.enable()
    gc.unfreeze()  # else what other tests leave would never be collected


def test_only_a_block_that_loads_a_library_leaves_it_out_of_collections(monkeypatch):
    Path("some_library.py").touch()
    monkeypatch.syspath_prepend(".")
    gc.unfreeze()
    before = gc.get_freeze_count()  # CPython keeps a few objects there by itself
    for expected in (True, False):  # the second block finds it loaded, as a later job of a sweep does
        with loading_libraries():
            import_module("some_library")
        assert (gc.get_freeze_count() > before) == expected
        gc.unfreeze()


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_imports_nothing_before_the_handler(script):
    imported = re.findall(r"^ *(?:from|import) (\S+)", (REPOSITORY / "scripts" / script).read_text(), re.M)
    assert set(imported) <= {"sys", "pathlib", "close_transfer.core.startup"}


def test_the_handler_needs_only_the_standard_library():
    code = "import sys; import close_transfer.core.startup; print(sorted(sys.modules))"
    with start("-c", code) as process:
        modules, _ = process.communicate(timeout=60)
    for name in ("pydantic", "hydra", "numpy", "multiprocessing", "close_transfer.cli"):
        assert f"'{name}'" not in modules


def test_settings_of_a_run_are_read_without_an_encoder():
    code = "import sys; import close_transfer.training.runs; print(sorted(sys.modules))"
    with start("-c", code) as process:
        modules, _ = process.communicate(timeout=60)
    for name in ("open_clip", "timm", "transformers"):
        assert f"'{name}'" not in modules


@pytest.mark.parametrize(("argument", "status"), [("--help", 0), ("no_such_setting=1", 2)])
@pytest.mark.parametrize(
    "script", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SCRIPTS]
)
def test_help_and_mistakes_load_no_heavy_library(script, argument, status):
    code = WATCHED.format(script=str(REPOSITORY / "scripts" / script), argument=argument)
    with start("-c", code) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    shown, _, loaded = out.rpartition("\nloaded")
    assert not HEAVY & set(loaded.split())
    assert "no_such_setting=1: there is no such setting" in err if status else len(shown) > 100


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.2, 0.5, 1, 2, 3, 4, 6, 9])  # seconds
@pytest.mark.parametrize(
    "command",
    [
        ["train_text_only.py", *SMALL, "train.max_steps=null", "train.epochs=100000", "output=run"],
        ["sweep_noise.py", "noises=[0.1]", "auto=[]", "seeds=1", "output=swept"],
        ["synthesize_captions.py", "num_texts=1000000", "output=corpus"],
    ],
    ids=lambda command: command[0],
)
def test_ctrl_c_at_any_time(command, delay):
    with start(REPOSITORY / "scripts" / command[0], *command[1:]) as process:
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=100)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "Exception ignored" not in err


SWALLOWED = """
import os, runpy, signal, sys, time

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(60)
            except BaseException:
                pass

sys.meta_path.insert(0, Finder())
sys.argv = [{script!r}, "output=run"]
runpy.run_path({script!r}, run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("module", ["close_transfer.config.train", "close_transfer.pipelines.train"])
def test_ctrl_c_ends_a_command_though_a_library_swallows_it(module):
    script = str(REPOSITORY / "scripts" / "train_text_only.py")
    with start("-c", SWALLOWED.format(module=module, script=script)) as process:
        _, err = process.communicate(timeout=100)
    assert process.returncode == 130, err
    assert err.strip() == "interrupted"
