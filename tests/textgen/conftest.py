"""Fixtures of textgen's tests: a small corpus, a stand-in server, and the command in a separate process."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from close_transfer.core.command_line import CONFIGS, compose_config
from close_transfer.core.journal_lines import format_line
from close_transfer.core.signals import StopRequest
from tests.conftest import REPOSITORY
from tests.textgen.local_server import Server
from tests.textgen.stand_in.server import StandInServer
from textgen.config import SynthesizeCaptionsConfig
from textgen.corpus.journal import RequestJournal, read_ledger
from textgen.corpus.line_counts import write_length
from textgen.pipeline import Synthesis, synthesize
from textgen.prompts.plan import read_plan

WORDS = ["dog", "cat", "bus", "tree", "boat", "train", "horse", "bench", "pizza", "cake", "bird", "river", "lamp",
         "table", "road", "house"]  # fmt: skip
NUM_PAIRS = 120  # of these words
INPUT, OUTPUT = 1e-3, 4e-3  # dollars a token, so that a few requests cost cents
PRICES = f"as_of: 2026-01-01\nmodels:\n  stand-in: {{input: {INPUT * 1e6}, output: {OUTPUT * 1e6}}}\n"


def compute_cost(counts):
    """Return the dollars for the tokens that a server counted."""
    return INPUT * counts["input_tokens"] + OUTPUT * counts["output_tokens"]


def _override(*settings):
    """Return the settings with the last value of each."""
    return [f"{name}={value}" for name, value in dict(setting.split("=", 1) for setting in settings).items()]


class Corpus:
    """Corpus of captions from two keywords each, and its journal.

    Attributes:
        settings: settings of every command on it.
    """

    def __init__(self, folder: Path, base_url: str, *settings: str, source: str = "openai", num_texts: int = 6) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        pairs = itertools.combinations(WORDS, 2)
        (folder / "pairs.txt").write_text("".join(f"{first}, {second}\n" for first, second in pairs))
        (folder / "prices.yaml").write_text(PRICES)
        # The words come last, because the server writes about the prompt's last line.
        shipped = (CONFIGS / "recipe" / "coco-style.j2").read_text().strip()
        (folder / "prompt.j2").write_text(shipped.removesuffix("Caption:"))
        self.folder = folder / "corpus"
        defaults = [
            f"output={self.folder}", f"source={source}", f"base_url={base_url}", f"num_texts={num_texts}", "model=stand-in",
            "keywords.sampler=list", f"keywords.list={folder / 'pairs.txt'}", f"prices={folder / 'prices.yaml'}",
            "initial_backoff=0.01", "request_timeout=5", "concurrency=8", "batch.poll_seconds=0.02", "filters.clip_tokens=null",
            f"recipe.template={folder / 'prompt.j2'}",
        ]  # fmt: skip
        self.settings = _override(*defaults, *settings)

    def work(self, *settings: str) -> Synthesis:
        arguments = _override(*self.settings, *settings)
        return Synthesis(compose_config("synthesize_captions", SynthesizeCaptionsConfig, arguments), arguments)

    def ask(self, *settings: str, stop: StopRequest | None = None) -> str | None:
        """Plan and generate, without filters and report; return the reason of an early end, or None."""
        work = self.work(*settings)
        work.plan()
        with RequestJournal(work.folder.journal, work.claim_folder()) as journal:
            return work.ask(journal, stop or StopRequest())

    def run(self, *settings: str) -> int:
        """Run a command in this process; return its exit status."""
        work = self.work(*settings)
        return synthesize(work.config, work.arguments)

    @property
    def journal(self) -> Path:
        return self.folder / "journal.jsonl"

    def leave_journal(self, content: bytes) -> None:
        """Write the journal that the first process would leave if it was killed after this content."""
        self.journal.write_bytes(content)
        write_length(self.journal, 1)

    def read_files(self) -> dict[str, bytes]:
        """Return the content of every file in the corpus's folder by name; that of a folder in it is empty."""
        paths = {str(path.relative_to(self.folder)): path for path in self.folder.rglob("*")}
        return {name: path.read_bytes() if path.is_file() else b"" for name, path in paths.items()}

    @property
    def ledger(self):
        return read_ledger(self.journal)

    @property
    def planned(self) -> list[str]:
        return [request.id for request in read_plan(self.folder / "plan.jsonl")]

    def events(self, *kinds: str) -> list[dict]:
        lines = [json.loads(line) for line in self.journal.read_text().split("\n") if line]
        return [event for event in lines if event["event"] in kinds]

    def answers(self) -> dict[str, list]:
        """Return the items by request, after a check that each was answered once."""
        answers = self.events("answer")
        assert len({event["id"] for event in answers}) == len(answers)
        return {event["id"]: event["items"] for event in answers}

    @property
    def is_complete(self) -> bool:
        return self.answers().keys() == set(self.planned)


def write_journal(path: Path, *events: dict, first: int = 1) -> None:
    """Write a journal with these events, numbered from `first`."""
    path.write_text("".join(format_line(number, event) + "\n" for number, event in enumerate(events, start=first)))


def make_command(*arguments: str) -> list[str]:
    """Return the command line of scripts/synthesize_captions.py."""
    return [sys.executable, str(REPOSITORY / "scripts" / "synthesize_captions.py"), *arguments]


def start(*arguments: str, **environment: str) -> subprocess.Popen:
    """Start the command in a new process group."""
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", **environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(make_command(*arguments), text=True, env=variables, start_new_session=True, **pipes)


@pytest.fixture
def serve():
    """Start stand-in servers that stop at the end of the test."""
    running = []

    def begin(**script) -> StandInServer:
        running.append(StandInServer(script).__enter__())
        return running[-1]

    yield begin
    for server in running:
        server.__exit__()


@pytest.fixture
def start_server():
    servers = []

    def start(act):
        servers.append(Server(act))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def corpus(tmp_path):
    """Make corpora, each in a separate folder."""
    numbers = itertools.count()

    def make(where, *settings: str, **options) -> Corpus:
        base_url = where if isinstance(where, str) else where.base_url
        return Corpus(tmp_path / f"corpus-{next(numbers)}", base_url, *settings, **options)

    return make


@pytest.fixture
def offline(corpus):
    """Corpus of 8 texts that the grammar wrote, without a server."""
    made = corpus("http://localhost:1/v1", source="grammar", num_texts=8)
    assert made.run() == 0
    return made
