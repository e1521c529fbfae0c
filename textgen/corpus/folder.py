"""Folder of a corpus: its files, and the settings that decide its requests, so that two corpora are never mixed."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from close_transfer.core.atomic_files import damaged_file_error, report_write_errors
from close_transfer.core.checksums import read_checked_fields, write_checked_json
from close_transfer.core.errors import UserError
from close_transfer.core.locks import hold_lock, locate_lock
from close_transfer.core.plain_files import has_interpolation
from close_transfer.core.roles import Role, list_fields
from close_transfer.core.schema import expand_home, shorten
from textgen.config import SynthesizeCaptionsConfig
from textgen.corpus.journal import make_busy_error, read_ledger
from textgen.corpus.line_counts import locate_length, write_length
from textgen.text.hashing import hash_json

_SETTINGS = "settings.json"
_MAX_SHOWN = 40  # characters of a value in a message
_DESTINATION = ("base_url", "api_key_env")  # settings that decide which key is sent to which server
_SENDING_ACTIONS = ("run", "collect")
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
# Remembered as typed last; other settings as typed when the corpus was begun.
_CAPS = list_fields(SynthesizeCaptionsConfig, Role.BUDGET)


@dataclass(frozen=True)
class CorpusFolder:
    """Paths of one corpus."""

    path: Path

    @property
    def plan(self) -> Path:
        """File of planned requests, one per line."""
        return self.path / "plan.jsonl"

    @property
    def journal(self) -> Path:
        """File of events, one per line."""
        return self.path / "journal.jsonl"

    @property
    def batches(self) -> Path:
        """Folder of files submitted to the Batch API."""
        return self.path / "batches"

    @property
    def corpus(self) -> Path:
        """File of texts that passed the filters."""
        return self.path / "corpus.jsonl"

    @property
    def removed(self) -> Path:
        """File of removed texts, each with the filter and its reason."""
        return self.path / "removed.jsonl"

    @property
    def filters(self) -> Path:
        """File of filter counts; written last, so that it marks a complete corpus."""
        return self.path / "filters.json"

    @property
    def report(self) -> Path:
        """Report page."""
        return self.path / "report.html"

    @property
    def card(self) -> Path:
        """Data card."""
        return self.path / "card.md"

    @property
    def settings(self) -> Path:
        """File of the typed settings and of the inputs that decide the requests."""
        return self.path / _SETTINGS

    @property
    def had_journal(self) -> bool:
        """Return True if there is a journal, or one is missing."""
        return self.journal.exists() or locate_length(self.journal).exists()

    @property
    def was_asked(self) -> bool:
        """Return True if requests may have been sent; the plan can then only grow."""
        return self.had_journal or self.corpus.exists()

    def keep_plan_length(self, num: int) -> None:
        """Write the number of requests of a whole plan if its file is missing, because of a kill or because it was deleted.

        Raises:
            WriteError: if it cannot be written.
        """
        if not locate_length(self.plan).is_file():
            write_length(self.plan, num)

    def _drop_unanswered_journal(self, request_fingerprint_inputs: Mapping[str, str]) -> bool:
        """Delete a journal of other settings if it holds no answer and no spend; return False if it is kept."""
        if self.corpus.exists() or not self.settings.is_file() or not self.journal.is_file():
            return False
        if _read_settings(self.settings)["decides"] == dict(request_fingerprint_inputs):
            return False
        ledger = read_ledger(self.journal)
        if ledger.answered or ledger.open or ledger.parts or ledger.spent.tokens:
            return False
        refusal = make_busy_error(self.path)
        try:
            with hold_lock(locate_lock(self.journal), refusal):
                locate_length(self.journal).unlink(missing_ok=True)  # first: a journal without it is whole
                self.journal.unlink()
        except UserError as error:
            if error is not refusal:
                raise
            return False  # another process is about to send requests
        return True

    @contextmanager
    def held(self, *, make: bool) -> Iterator[None]:
        """Lock the corpus for this process until the block ends.

        Args:
            make: True to create the folder if it does not exist; an empty new folder is removed at the end.

        Raises:
            UserError: if another process holds the lock.
        """
        is_new = make and not self.path.exists()
        if make:
            with report_write_errors(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
        if not self.path.is_dir():
            yield
            return
        try:
            with hold_lock(locate_lock(self.path), make_busy_error(self.path)):
                yield
        finally:
            if is_new:
                with suppress(OSError):  # the folder is not empty
                    self.path.rmdir()

    def keep(self, request_fingerprint_inputs: Mapping[str, str], arguments: Sequence[str]) -> str:
        """Record the inputs that decide the requests of a new corpus, or compare them with the recorded ones.

        Before anything was answered or paid for, a plan with other settings is replaced. So prompts can be inspected and
        changed, and a misspelt model name does not block the folder.

        Args:
            request_fingerprint_inputs: name -> fingerprint or value of every input that decides a request.
            arguments: the typed settings, for the next command on this folder.

        Returns:
            the key of the corpus, a hash of the inputs.

        Raises:
            UserError: names the inputs that differ, if the folder holds another corpus.
        """
        key = hash_json(dict(request_fingerprint_inputs))
        if not self.was_asked or self._drop_unanswered_journal(request_fingerprint_inputs):
            remembered = [argument for argument in arguments if _is_plain(argument)]
            note = {"key": key, "arguments": remembered, "decides": dict(request_fingerprint_inputs)}
            noted_inputs = _read_settings(self.settings)["decides"] if self.settings.is_file() else None
            if noted_inputs != note["decides"]:
                self.plan.unlink(missing_ok=True)
            write_checked_json(self.settings, note)
            return key
        if not self.settings.is_file():
            raise UserError(
                f"output={self.path}: holds a corpus whose {_SETTINGS} is missing. Restore that file, or give another output="
            )
        noted = _read_settings(self.settings)
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
                f"output={self.path}: holds a corpus made with other settings ({differences}), and two corpora are never mixed. "
                "Give another output=, or go back to the settings of this one"
            )
        self._remember_caps(noted, arguments)
        return key

    def _remember_caps(self, note: Mapping[str, Any], arguments: Sequence[str]) -> None:
        """Record caps that were typed after the corpus was begun, so that they hold for the next command too."""
        noted_caps, typed_caps = _select_caps(note["arguments"]), _select_caps(arguments)
        if {**noted_caps, **typed_caps} != noted_caps:
            others = [argument for argument in note["arguments"] if argument.partition("=")[0] not in _CAPS]
            caps = [f"{name}={value}" for name, value in {**noted_caps, **typed_caps}.items()]
            write_checked_json(self.settings, {**note, "arguments": [*others, *caps]})


def _read_settings(path: Path) -> dict[str, Any]:
    """Read settings.json.

    Raises:
        UserError: if it is damaged.
    """
    return read_checked_fields(path, {"key": str, "arguments": list, "decides": dict})


def _select_caps(arguments: Sequence[str]) -> dict[str, str]:
    pairs = (argument.partition("=") for argument in arguments)
    return {name: value for name, _, value in pairs if name in _CAPS}


def _shorten(value: Any) -> str:
    text = str(value)
    if len(text) == 64 and all(digit in "0123456789abcdef" for digit in text):  # a SHA-256
        return text[:8]
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


def _is_plain(argument: object) -> bool:
    """Return True if an argument only sets a value of the command: it reads no variable and does not configure Hydra."""
    if not isinstance(argument, str) or argument.startswith("-") or has_interpolation(argument):
        return False
    return re.match(r"[+~]*hydra\b", argument) is None


# Settings that apply to one command only. The folder remembers all others.
_ONE_CALL_SETTINGS = ("action",)


def _check_destination(folder: Path, remembered: Mapping[str, str], typed: Mapping[str, str]) -> None:
    """Check that the user names the server and the key, unless the server is this machine.

    Raises:
        UserError: if only the folder names them.
    """
    if typed.get("action", "run") not in _SENDING_ACTIONS:
        return
    with suppress(ValueError):  # not an address; the check of all settings refuses it later
        if urlsplit(typed.get("base_url", remembered.get("base_url", ""))).hostname in _THIS_MACHINE:
            return
    missing = [f"{name}={remembered[name]}" for name in _DESTINATION if name in remembered and name not in typed]
    if missing:
        raise UserError(
            f"{folder}: was begun with {' '.join(missing)}, and that decides which key is sent to which server. If you trust "
            "it, repeat it in the command"
        )


def merge_remembered_args(arguments: Sequence[str], default_output: str, default_recipe: str) -> list[str]:
    """Put the settings that the corpus was begun with before the typed ones, so that later commands need not repeat them.

    Args:
        arguments: typed settings as `key=value`.
        default_output: folder of a corpus if output= is not given; `{recipe}` in it is the recipe's name.
        default_recipe: recipe if recipe= is not given.

    Returns:
        the remembered settings that were not typed again, then the typed ones.

    Raises:
        UserError: if the folder's settings.json cannot be read or holds more than plain settings, or if it alone decides
            where a key is sent, because the folder may come from others.
    """
    typed = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    name = typed.get("recipe", default_recipe)
    folder = CorpusFolder(Path(expand_home(typed.get("output") or default_output.format(recipe=name), is_path=True)))
    try:
        is_begun = (folder.plan.is_file() or folder.was_asked) and folder.settings.is_file()
    except (OSError, ValueError):  # a name that no file can have; the check of all settings refuses it later
        is_begun = False
    if not is_begun:
        return list(arguments)
    remembered = _read_settings(folder.settings)["arguments"]
    if refused := [argument for argument in remembered if not _is_plain(argument)]:
        raise damaged_file_error(folder.settings, f"{shorten(refused[0])} is not a plain setting")
    _check_destination(folder.path, dict(argument.split("=", 1) for argument in remembered), typed)
    # Once requests were sent, the plan has the number of texts, and a remembered num_texts= may be out of date.
    forgotten = {*typed, *_ONE_CALL_SETTINGS, *(["num_texts"] if folder.was_asked else [])}
    return [*(argument for argument in remembered if argument.partition("=")[0] not in forgotten), *arguments]
