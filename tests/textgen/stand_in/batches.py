"""Files and batches of the stand-in server, kept in memory."""

import json
import re
import secrets
import time
from dataclasses import dataclass, field
from random import Random

from tests.textgen.stand_in.answers import CHAT, RESPONSES
from tests.textgen.stand_in.completions import make_failure, make_known_failure

_FINAL = ("completed", "failed", "expired", "cancelled")


class Refused(Exception):
    """Error of a call; `args` are its status and body."""


@dataclass
class _Batch:
    shape: dict  # the API's description
    lines: list = field(default_factory=list)
    late: set = field(default_factory=set)  # indices of lines that expire
    problems: list = field(default_factory=list)  # that make it fail
    polls: int = 0
    num_done: int = 0
    output: list = field(default_factory=list)
    errors: list = field(default_factory=list)


class Batches:
    """Files and batches of requests. A batch makes progress each time its status is requested."""

    def __init__(self, completions):
        self._completions = completions
        self._script = completions.script.batch
        self._seed = completions.script.seed
        self._files = {}
        self._batches = {}

    def upload(self, content_type, content):
        """Store the file of a multipart form; return its description."""
        mark = re.search(r'boundary="?([^";]+)', content_type)
        fields, file = {}, None
        for part in content.split(b"--" + mark[1].encode())[1:-1] if mark else ():
            head, _, value = part.partition(b"\r\n\r\n")
            name = re.search(rb'[; ]name="([^"]*)"', head)[1].decode()
            fields[name] = value.removesuffix(b"\r\n")
            if name == "file":
                file = re.search(rb'filename="([^"]*)"', head)
        if file is None or "purpose" not in fields:
            raise Refused(*make_failure(400, "a file and its purpose are required"))
        return self._keep(file[1].decode(), fields["file"], fields["purpose"].decode())

    def _keep(self, name, content, purpose):
        shape = {
            "id": f"file-{secrets.token_hex(12)}",
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "expires_at": None,
            "filename": name,
            "purpose": purpose,
            "status": "processed",
            "status_details": None,
        }
        self._files[shape["id"]] = (shape, content)
        return shape

    def file(self, number):
        """Return a file's description and content."""
        if number not in self._files:
            raise Refused(*make_failure(404, f"No such File object: {number}", param="id"))
        return self._files[number]

    def delete(self, number):
        """Delete a file."""
        self.file(number)
        del self._files[number]
        return {"id": number, "object": "file", "deleted": True}

    def create(self, settings):
        """Create a batch; return its description."""
        if name := self._completions.get_quota_failure():
            raise Refused(*make_known_failure(name))
        endpoint, number = settings.get("endpoint"), settings.get("input_file_id")
        if endpoint not in (CHAT, RESPONSES) or settings.get("completion_window") != "24h":
            raise Refused(
                *make_failure(400, f"Invalid value: endpoint {endpoint!r} or completion_window", param="endpoint")
            )
        _, content = self.file(number)
        now = int(time.time())
        batch = _Batch(
            {
                "id": f"batch_{secrets.token_hex(12)}",
                "object": "batch",
                "endpoint": endpoint,
                "errors": None,
                "input_file_id": number,
                "completion_window": "24h",
                "status": "validating",
                "output_file_id": None,
                "error_file_id": None,
                "created_at": now,
                "expires_at": now + 24 * 3600,
                "request_counts": {"total": 0, "completed": 0, "failed": 0},
                "metadata": settings.get("metadata"),
            }
            | dict.fromkeys(f"{status}_at" for status in ("in_progress", "finalizing", "cancelling", *_FINAL))
        )
        self._check(batch, content)
        if not batch.problems and len(self._batches) < self._script.expire_batches:
            draw = Random(f"{self._seed}/expire").random
            batch.late = {index for index in range(len(batch.lines)) if draw() < self._script.expire}
        self._batches[batch.shape["id"]] = batch
        return batch.shape

    def _check(self, batch, content):
        """Read the lines, and record the problems that make the batch fail."""

        def problem(code, message, line=None):
            batch.problems.append({"code": code, "message": message, "param": None, "line": line})

        seen = set()
        for index, text in enumerate(content.decode(errors="replace").split("\n"), 1):
            if not text.strip():
                continue
            try:
                line = json.loads(text)
                custom, url, model = line["custom_id"], line["url"], line["body"]["model"]
            except (ValueError, KeyError, TypeError):
                problem("invalid_json_line", "This line is not parseable as valid JSON of a request.", index)
                continue
            if custom in seen:
                problem("duplicate_custom_id", f"The custom_id {custom!r} is not unique in this file.", index)
            if url != batch.shape["endpoint"]:
                problem("mismatched_url", f"The url {url!r} is not the endpoint of the batch.", index)
            if batch.lines and model != batch.lines[0]["body"]["model"]:
                problem("mismatched_model", "All requests of a batch must name the same model.", index)
            seen.add(custom)
            batch.lines.append(line)
        max_requests, max_bytes = self._script.reject_over_requests, self._script.reject_over_bytes
        if not content.strip():
            problem("empty_file", "The input file is empty.")
        if max_requests is not None and len(batch.lines) > max_requests:
            problem("too_many_tasks", f"The input file has more than {max_requests} requests.")
        if max_bytes is not None and len(content) > max_bytes:
            problem("file_too_large", f"The input file has more than {max_bytes} bytes.")

    def _find(self, number):
        if number not in self._batches:
            raise Refused(*make_failure(404, f"No batch found with id '{number}'.", param="id"))
        return self._batches[number]

    def retrieve(self, number):
        """Return a batch's description; each call advances it by one step."""
        batch, polls = self._find(number), self._script.polls
        status = batch.shape["status"]
        if status in _FINAL:
            return batch.shape
        batch.polls += 1
        if status == "cancelling":
            self._finish(batch, "cancelled")
        elif batch.problems:
            batch.shape["errors"] = {"object": "list", "data": batch.problems}
            _enter(batch, "failed")
        elif batch.polls > polls:
            self._work(batch, len(batch.lines))
            self._finish(batch, "expired" if batch.late else "completed")
        elif batch.polls == 1 and polls > 2:
            pass  # still in validation
        else:
            _enter(batch, "finalizing" if batch.polls == polls > 1 else "in_progress")
            self._work(batch, len(batch.lines) * batch.polls // (polls + 1))
        return batch.shape

    def cancel(self, number):
        """Cancel a batch; the answers so far are available afterwards."""
        batch = self._find(number)
        if batch.shape["status"] in _FINAL:
            raise Refused(*make_failure(409, f"Cannot cancel a batch with status '{batch.shape['status']}'."))
        _enter(batch, "cancelling")
        return batch.shape

    def list_page(self, after, limit):
        """Return a page of batches, the newest first."""
        numbers = list(self._batches)[::-1]
        if after:
            self._find(after)
            numbers = numbers[numbers.index(after) + 1 :]
        page = [self._batches[number].shape for number in numbers[:limit]]
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
        return {"object": "list", "data": page, **ends, "has_more": len(numbers) > limit}

    def _work(self, batch, upto):
        """Answer the lines up to index `upto`, except those that expire."""
        counts = batch.shape["request_counts"]
        counts["total"] = len(batch.lines)
        for index in range(batch.num_done, upto):
            line = batch.lines[index]
            if index in batch.late:
                continue
            where = {"custom_id": line["custom_id"], "batch_id": batch.shape["id"]}
            status, body = self._completions.line(line["url"], line["body"], **where)
            response = {"status_code": status, "request_id": f"req_{secrets.token_hex(8)}", "body": body}
            written = _written(line, response, None)
            is_good = status == 200
            counts["completed" if is_good else "failed"] += 1
            is_hidden = not is_good and Random(f"{self._seed}/{line['custom_id']}").random() < 0.5
            (batch.output if is_good or is_hidden else batch.errors).append(written)
        batch.num_done = max(batch.num_done, upto)

    def _finish(self, batch, status):
        """Write the files and set the final status."""
        counts = batch.shape["request_counts"]
        for index, line in enumerate(batch.lines):
            if index in batch.late and status == "expired":
                where = {"custom_id": line["custom_id"], "batch_id": batch.shape["id"]}
                self._completions.expire(line["url"], line["body"], **where)
                message = "This request could not be executed before the completion window expired."
                batch.errors.append(_written(line, None, {"code": "batch_expired", "message": message}))
                counts["failed"] += 1
        random = Random(f"{self._seed}/{len(batch.lines)}/files")
        batch.output += [line for line in batch.output if random.random() < self._script.duplicate]
        if self._script.shuffle:
            random.shuffle(batch.output)
            random.shuffle(batch.errors)
        for name, lines in (("output", batch.output), ("error", batch.errors)):
            if lines:
                content = "".join(json.dumps(line) + "\n" for line in lines).encode()
                kept = self._keep(f"{batch.shape['id']}_{name}.jsonl", content, "batch_output")
                batch.shape[f"{name}_file_id"] = kept["id"]
        _enter(batch, status)


def _enter(batch, status):
    batch.shape["status"] = status
    batch.shape[f"{status}_at"] = batch.shape.get(f"{status}_at") or int(time.time())


def _written(line, response, error):
    number = f"batch_req_{secrets.token_hex(8)}"
    return {"id": number, "custom_id": line["custom_id"], "response": response, "error": error}
