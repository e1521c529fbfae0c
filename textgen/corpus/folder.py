"""The folder of a corpus: what lies where, and what decided it, so that nothing else is ever mixed in."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from close_transfer.core.atomic_files import read_fields, report_write_errors, write_json
from close_transfer.core.errors import UserError
from close_transfer.core.locks import hold_lock, locate_lock
from close_transfer.core.roles import Role, fields_with
from textgen.config import SynthesizeCaptionsConfig
from textgen.corpus.journal import find_other_holder, read_ledger
from textgen.text.hashing import hash_json

_SETTINGS = "settings.json"
_LONGEST_SHOWN = 40
_CAPS = fields_with(SynthesizeCaptionsConfig, Role.BUDGET)


@dataclass(frozen=True)
class CorpusFolder:
    """Paths of one corpus."""

    path: Path

    @property
    def plan(self) -> Path:
        """One request a line."""
        return self.path / "plan.jsonl"

    @property
    def journal(self) -> Path:
        """One event a line."""
        return self.path / "journal.jsonl"

    @property
    def batches(self) -> Path:
        """Files that were given to the Batch API."""
        return self.path / "batches"

    @property
    def corpus(self) -> Path:
        """What passed the filters."""
        return self.path / "corpus.jsonl"

    @property
    def removed(self) -> Path:
        """What did not, each with the filter and its reason."""
        return self.path / "removed.jsonl"

    @property
    def filters(self) -> Path:
        """Counts of the filters; written last, so that its presence means a complete corpus."""
        return self.path / "filters.json"

    @property
    def report(self) -> Path:
        """The page about it."""
        return self.path / "report.html"

    @property
    def card(self) -> Path:
        """The data card."""
        return self.path / "card.md"

    @property
    def settings(self) -> Path:
        """What was typed, and what decides the requests."""
        return self.path / _SETTINGS

    @property
    def was_asked(self) -> bool:
        """Whether requests may have been sent, so that the plan can only grow."""
        return self.journal.exists() or self.corpus.exists()

    def _drop_unanswered_journal(self, request_fingerprint_inputs: Mapping[str, str]) -> bool:
        """Takes away a journal of other settings in which nothing was answered or paid for; False if it stays."""
        if self.corpus.exists() or not self.settings.is_file() or not self.journal.is_file():
            return False
        if read_fields(self.settings, {"decides": dict})["decides"] == dict(request_fingerprint_inputs):
            return False
        ledger = read_ledger(self.journal)
        if ledger.answered or ledger.open or ledger.parts or ledger.spent.tokens:
            return False
        refusal = find_other_holder(self.path)
        try:
            with hold_lock(locate_lock(self.journal), refusal):
                self.journal.unlink()
        except UserError as error:
            if error is not refusal:
                raise
            return False  # another process is about to ask
        return True

    @contextmanager
    def held(self, *, make: bool) -> Iterator[None]:
        """Keeps other processes from working on the corpus meanwhile; `make` makes the folder where there is none.

        Raises:
            UserError: if another one is at work.
        """
        is_new = make and not self.path.exists()
        if make:
            with report_write_errors(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
        if not self.path.is_dir():
            yield
            return
        try:
            with hold_lock(locate_lock(self.path), find_other_holder(self.path)):
                yield
        finally:
            if is_new:
                with suppress(OSError):  # holds something
                    self.path.rmdir()

    def keep(self, request_fingerprint_inputs: Mapping[str, str], arguments: Sequence[str]) -> str:
        """Notes what decides the requests of a new corpus, or compares it with what was noted; the corpus's key.

        Before anything was answered or paid for, a plan made otherwise gives way to the next: prompts can be looked at
        and changed, and a misspelt model costs no folder.

        Args:
            request_fingerprint_inputs: all that decides a request, by name.
            arguments: the settings that were typed, for the next command on this folder.

        Raises:
            UserError: naming what differs, if the folder is another corpus's.
        """
        key = hash_json(dict(request_fingerprint_inputs))
        if not self.was_asked or self._drop_unanswered_journal(request_fingerprint_inputs):
            note = {"key": key, "arguments": list(arguments), "decides": dict(request_fingerprint_inputs)}
            noted_inputs = read_fields(self.settings, {"decides": dict})["decides"] if self.settings.is_file() else None
            if noted_inputs != note["decides"]:
                self.plan.unlink(missing_ok=True)
            write_json(self.settings, note)
            return key
        if not self.settings.is_file():
            raise UserError(
                f"output={self.path}: holds a corpus whose {_SETTINGS} is gone; bring it back, or give another output="
            )
        noted = read_fields(self.settings, {"key": str, "arguments": list, "decides": dict})
        noted_inputs = noted["decides"]
        differing = [
            name
            for name in {**noted_inputs, **request_fingerprint_inputs}
            if noted_inputs.get(name) != request_fingerprint_inputs.get(name)
        ]
        if differing:
            differences = "; ".join(
                f"{name} was {_shorten(noted_inputs.get(name))} and is {_shorten(request_fingerprint_inputs.get(name))}"
                for name in differing
            )
            raise UserError(
                f"output={self.path}: holds a corpus made otherwise ({differences}); two corpora are never mixed, so give "
                "another output=, or go back to what it was made with"
            )
        self._remember_caps(noted, arguments)
        return key

    def _remember_caps(self, note: Mapping[str, Any], arguments: Sequence[str]) -> None:
        """Notes caps that were typed later, so that the next command, which may not repeat them, keeps them too."""
        noted_caps, typed_caps = _select_caps(note["arguments"]), _select_caps(arguments)
        if {**noted_caps, **typed_caps} != noted_caps:
            others = [argument for argument in note["arguments"] if argument.partition("=")[0] not in _CAPS]
            caps = [f"{name}={value}" for name, value in {**noted_caps, **typed_caps}.items()]
            write_json(self.settings, {**note, "arguments": [*others, *caps]})


def _select_caps(arguments: Sequence[str]) -> dict[str, str]:
    pairs = (argument.partition("=") for argument in arguments)
    return {name: value for name, _, value in pairs if name in _CAPS}


def _shorten(value: Any) -> str:
    text = str(value)
    if len(text) == 64 and all(digit in "0123456789abcdef" for digit in text):
        return text[:8]
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


# Settings of one call; the rest of what was typed is remembered by the folder.
_OF_ONE_CALL = ("action",)


def merge_remembered_args(arguments: Sequence[str], default_output: str, default_recipe: str) -> list[str]:
    """What was typed, after what was typed when the corpus was begun, so that later commands need not repeat it.

    Args:
        arguments: settings as `key=value`.
        default_output: where a corpus goes without output=; `{recipe}` in it is the recipe's name.
        default_recipe: the recipe without recipe=.

    Raises:
        UserError: if the folder's note cannot be read.
    """
    typed = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    name = typed.get("recipe", default_recipe)
    folder = CorpusFolder(Path(typed.get("output") or default_output.format(recipe=name)))
    try:
        is_begun = folder.plan.is_file() and folder.settings.is_file()
    except (OSError, ValueError):  # a name that no file can have; refused with the other settings
        is_begun = False
    if not is_begun:
        return list(arguments)
    remembered = read_fields(folder.settings, {"arguments": list})["arguments"]
    forgotten = {*typed, *_OF_ONE_CALL, *(["num_texts"] if folder.was_asked else [])}  # the plan says how many
    return [*(argument for argument in remembered if argument.partition("=")[0] not in forgotten), *arguments]
