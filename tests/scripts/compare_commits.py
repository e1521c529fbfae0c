"""Compare what two commits compute: weights, metrics, predictions, chosen noise, plans and corpora, bit by bit.

    python tests/scripts/compare_commits.py BEFORE AFTER
    python tests/scripts/compare_commits.py BEFORE --record before.json
    python tests/scripts/compare_commits.py AFTER --against before.json

Each commit is checked out into a temporary folder and runs the same commands with this interpreter on one thread.
Commands are written in the words of AFTER; `renamed.py` translates them, and the fields of what is read, for BEFORE.
The exit status is 1 if anything differs.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.scripts.comparison_jobs import jobs, write_inputs  # noqa: E402
from tests.scripts.renamed import FIELDS, FIELDS_BELOW, FIELDS_OF_FILES, REMOVED, SCRIPTS, SETTINGS, VALUES, WORDING  # noqa: E402
from tests.textgen.stand_in.server import StandInServer  # noqa: E402

# What differs between two runs of one commit: times, versions, the commit.
VOLATILE = {
    "versions",
    "git_commit",
    "seconds",
    "minutes",
    "peak_memory",
    "created",
    "date",
    "transformers_version",
    *WORDING,
}


def translate(value, fields, parent=""):
    """Return `value` with the names of BEFORE replaced by those of AFTER, without removed keys."""
    if isinstance(value, dict):
        kept = {key: one for key, one in value.items() if key not in REMOVED}
        names = fields | FIELDS_BELOW.get(parent, {})
        return {
            names.get(key, key): VALUES.get((key, str(one)), translate(one, fields, key)) for key, one in kept.items()
        }
    return [translate(one, fields, parent) for one in value] if isinstance(value, list) else value


def stable(value):
    """Return `value` without the keys that differ between two runs of one commit."""
    if isinstance(value, dict):
        return {key: stable(one) for key, one in value.items() if key not in VOLATILE}
    return [stable(one) for one in value] if isinstance(value, list) else value


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read(path: Path, places: dict[str, str]):
    """Return the content of a file to compare; `places` maps folders of this run to the names that replace them."""
    if path.suffix in (".json", ".yaml", ".jsonl"):
        text = path.read_text(encoding="utf-8")
        for place, name in places.items():
            text = text.replace(place, name)
        if path.suffix == ".jsonl":
            return stable([json.loads(line) for line in text.splitlines()])
        return stable(yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text))
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: digest(arrays[name].tobytes()) for name in sorted(arrays)}
    return digest(path.read_bytes())


def files_of(folder: Path):
    """Return the files to compare: weights, settings, facts, results, predictions, plans and corpora."""
    kept = ("model.safetensors", "statistics.safetensors", "results.json", "facts.json", "predictions.jsonl", "plan.jsonl",
            "corpus.jsonl", "removed.jsonl", "scores.jsonl", "config.yaml", "gap.json", "statistics.json", "statistics.npz",
            "official_results.json")  # fmt: skip
    if folder.is_file():
        return [folder]
    return [
        p
        for p in sorted(folder.rglob("*"))
        if p.is_file() and (p.name in kept or p.parent.name == "predicted") and "old" not in p.parts
    ]


def old_words(command: str) -> str:
    """Return a command in the words of BEFORE."""
    script, *settings = command.split(" ")
    out = []
    for setting in settings:
        for of, new, old in SETTINGS:
            if of in ("", script):
                setting = re.sub(new, old, setting)
        out.append(setting)
    return " ".join([SCRIPTS.get(script, script), *out])


@contextmanager
def checkout(commit: str):
    """Check a commit out into a temporary folder within the block."""
    folder = Path(tempfile.mkdtemp()) / "tree"
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", folder, commit], cwd=ROOT, check=True)
    try:
        yield folder
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", folder], cwd=ROOT, check=True)
        shutil.rmtree(folder.parent)


def record(commit: str, is_before: bool, only: str = "") -> dict:
    """Run all jobs with a commit, and return the contents of their files by job and file."""
    out = {}
    with checkout(commit) as tree, tempfile.TemporaryDirectory() as here, StandInServer({}) as server:
        folder = Path(here)
        write_inputs(folder)
        environment = {
            **os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "OPENAI_API_KEY": "key",
            "CLOSE_TRANSFER_CACHE": str(folder / "cache"),
        }  # fmt: skip
        for name, commands, read_from in jobs(server.base_url):
            if only and not re.search(only, name):
                continue
            said = ""
            for command in commands:
                words = (old_words(command) if is_before else command).split(" ")
                done = subprocess.run([sys.executable, tree / "scripts" / f"{words[0]}.py", *words[1:]], cwd=folder,
                                      env=environment, capture_output=True, text=True)  # fmt: skip
                if done.returncode:
                    said = f"exit {done.returncode}: {' '.join(words)}: {done.stderr[-600:]}"
            places = [name] if read_from is None else [read_from] if isinstance(read_from, str) else read_from
            found = {
                str(path.relative_to(folder)): read(path, {str(folder): "HERE", str(tree): "TREE"})
                for place in places
                for path in files_of(folder / place)
            }
            out[name] = found | ({"failed": said} if said else {})
            print(f"{commit[:8]} {name}: {len(found)} files {said}", flush=True)
    return out


def differences(before, after, where="") -> list[str]:
    """Return a line per value that differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [line for key in sorted(before.keys() | after.keys(), key=str)
                for line in differences(before.get(key, "missing"), after.get(key, "missing"), f"{where}/{key}")]  # fmt: skip
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            line
            for n, pair in enumerate(zip(before, after, strict=True))
            for line in differences(*pair, f"{where}[{n}]")
        ]
    return [] if before == after else [f"{where}: {str(before)[:150]!r} and {str(after)[:150]!r}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs="*")
    parser.add_argument("--record", help="write what BEFORE computes, and end")
    parser.add_argument(
        "--new-words", action="store_true", help="of --record: the commit already has the names of AFTER"
    )
    parser.add_argument("--against", help="a file that --record wrote, in place of BEFORE")
    parser.add_argument("--with", dest="other", help="a file that --record --new-words wrote, in place of AFTER")
    parser.add_argument("--only", default="", help="a regular expression of job names")
    given = parser.parse_args()
    if given.record:
        Path(given.record).write_text(json.dumps(record(given.commits[0], not given.new_words, given.only)))
        return
    before = (
        json.loads(Path(given.against).read_text()) if given.against else record(given.commits[0], True, given.only)
    )
    if given.only:
        before = {name: value for name, value in before.items() if re.search(given.only, name)}
    if given.other:
        after = json.loads(Path(given.other).read_text())
        after = {name: value for name, value in after.items() if re.search(given.only, name)}
    else:
        after = json.loads(json.dumps(record(given.commits[-1], False, given.only)))
    before = {
        job: {
            name: translate(value, FIELDS | FIELDS_OF_FILES.get(Path(name).name, {})) for name, value in found.items()
        }
        for job, found in before.items()
    }
    lines = differences(stable(before), stable(after))
    num_files = sum(len(found) for found in before.values())
    print(*lines[:60], f"{len(before)} jobs, {num_files} files: {len(lines)} differences", sep="\n")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
