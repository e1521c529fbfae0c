"""Calls of the Batch API, with answers read in any form: a file's upload, and a batch's creation, state and search."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai

from textgen.generators.repeated_calls import UnexpectedAnswer
from textgen.generators.reply_parts import describe_error, unpack_body
from textgen.generators.server_words import is_web_page

ENDED = ("completed", "failed", "expired", "cancelled")
IN_PROGRESS = ("validating", "in_progress", "finalizing", "cancelling")
_METADATA = "corpus_part"  # metadata field that names a file at the provider
_PAGE_SIZE, _MAX_PAGES = 100, 200  # of the list of batches; a longer one is a server's loop


@dataclass(frozen=True)
class BatchState:
    """State of a batch at the provider.

    Attributes:
        status: state in the provider's words.
        files: ids of the files with results.
        num_done: number of requests with a result.
        errors: reasons why the provider refused the file.
    """

    status: str
    files: tuple[str, ...]
    num_done: int
    errors: tuple[str, ...]


def _read_fields(answer: Any, *names: str) -> Mapping[str, Any]:
    """Return an answer as a mapping.

    Raises:
        UnexpectedAnswer: if it is none, or lacks one of these texts.
    """
    fields = unpack_body(answer)
    fields = fields.to_dict() if isinstance(fields, openai.BaseModel) else fields
    if not isinstance(fields, Mapping):
        raise UnexpectedAnswer("the answer is not an object of the Batch API", str(fields))
    for name in names:
        if not isinstance(fields.get(name), str):
            raise UnexpectedAnswer(
                f"the answer does not follow the Batch API and has no {name!r}", describe_error(fields)
            )
    return fields


def upload_file(client: openai.OpenAI, path: Path) -> str:
    """Upload a file of requests, and return its id."""
    with path.open("rb") as file:
        answer: Any = client.files.create(file=file, purpose="batch")
    return str(_read_fields(answer, "id")["id"])


def create_batch(client: openai.OpenAI, file_id: str, endpoint: str, name: str) -> str:
    """Submit an uploaded file under a name, and return the id of its batch."""
    body = {
        "input_file_id": file_id,
        "endpoint": endpoint,
        "completion_window": "24h",
        "metadata": {_METADATA: name},
    }
    answer: Any = client.post("/batches", cast_to=object, body=body)
    return str(_read_fields(answer, "id")["id"])


def retrieve_batch(client: openai.OpenAI, batch_id: str) -> BatchState:
    """Return the state of a batch."""
    answer: Any = client.get(f"/batches/{batch_id}", cast_to=object)
    fields = _read_fields(answer, "status")
    counts, errors = fields.get("request_counts"), fields.get("errors")
    numbers = [counts.get(name) for name in ("completed", "failed")] if isinstance(counts, Mapping) else []
    listed = errors.get("data") if isinstance(errors, Mapping) else errors
    listed = listed if isinstance(listed, list) else [listed] if listed else []
    files = (fields.get("output_file_id"), fields.get("error_file_id"))
    return BatchState(
        fields["status"],
        tuple(file for file in files if isinstance(file, str) and file),
        sum(number for number in numbers if isinstance(number, int) and number > 0),
        tuple(_describe_refusal(error) for error in listed),
    )


def download_results(client: openai.OpenAI, file_id: str) -> str:
    """Return the content of a file of results.

    Raises:
        UnexpectedAnswer: if the server sends a web page or an error in its place, so that the results can be fetched later.
    """
    text, problem = client.files.content(file_id).text, "the answer is not a file of results"
    if is_web_page(text):
        raise UnexpectedAnswer(problem, text)
    body = unpack_body(text)  # a file of one line, or no JSON as a whole
    if isinstance(body, Mapping) and body.get("error") and "custom_id" not in body:
        raise UnexpectedAnswer(problem, describe_error(body["error"]))
    return text


def _describe_refusal(error: Any) -> str:
    code = error.get("code") if isinstance(error, Mapping) else None
    return f"{code}: {describe_error(error)}" if code else describe_error(error)


def find_batch(client: openai.OpenAI, name: str) -> str | None:
    """Return the id of the batch with this name if the provider has it, else None.

    Raises:
        UnexpectedAnswer: if the provider's answer is not a list.
        ValueError: if the list does not end.
    """
    after: str | None = None
    seen: set[str] = set()
    for _ in range(_MAX_PAGES):
        query = {"limit": _PAGE_SIZE, **({"after": after} if after else {})}
        answer: Any = client.get("/batches", cast_to=object, options={"params": query})
        page = _read_fields(answer)
        batches = page.get("data")
        if not isinstance(batches, list):
            raise UnexpectedAnswer("the answer is not a list of batches", describe_error(page))
        for batch in batches:
            fields = _read_fields(batch, "id")
            metadata = fields.get("metadata")
            if isinstance(metadata, Mapping) and metadata.get(_METADATA) == name:
                return str(fields["id"])
        if not batches or not page.get("has_more"):
            return None
        after = str(batches[-1]["id"])
        if after in seen:
            break
        seen.add(after)
    raise ValueError(f"the list of batches does not end after {len(seen) + 1:,} pages")
