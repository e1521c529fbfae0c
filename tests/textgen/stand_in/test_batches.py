"""Batches of the stand-in server with the real `openai` client."""

import json
from collections import Counter

import openai
import pytest

from tests.textgen.stand_in.server import StandInServer
from tests.textgen.stand_in.test_server import chat, connect


def upload(client, numbers, endpoint="/v1/chat/completions"):
    def body(number):
        asked = [{"role": "user", "content": f"question {number}"}]
        return {"model": "m", "messages" if "chat" in endpoint else "input": asked}

    lines = [{"custom_id": f"q{one}", "method": "POST", "url": endpoint, "body": body(one)} for one in numbers]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    file = client.files.create(file=("questions.jsonl", content), purpose="batch")
    assert file.bytes == len(content) and client.files.content(file.id).content == content
    return file.id


def begin(client, numbers, endpoint="/v1/chat/completions", **options):
    file = upload(client, numbers, endpoint)
    return client.batches.create(completion_window="24h", endpoint=endpoint, input_file_id=file, **options)


def follow(client, batch):
    """Follow a batch to its end; return it and its statuses."""
    statuses = [batch.status]
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        batch = client.batches.retrieve(batch.id)
        statuses.append(batch.status)
    return batch, statuses


def read(client, file):
    return [json.loads(line) for line in client.files.content(file).text.splitlines()] if file else []


def test_files_are_described_and_deleted():
    with StandInServer() as server, connect(server) as client:
        file = upload(client, range(2))
        described = client.files.retrieve(file)
        assert (described.filename, described.purpose, described.status) == ("questions.jsonl", "batch", "processed")
        assert client.files.delete(file).deleted
        for call in (client.files.retrieve, client.files.content, client.files.delete):
            with pytest.raises(openai.NotFoundError):
                call(file)


@pytest.mark.parametrize("endpoint", ["/v1/chat/completions", "/v1/responses"])
def test_a_batch_has_the_same_answers_as_requests(endpoint):
    with StandInServer({"batch": {"polls": 3}}) as server, connect(server) as client:
        batch, statuses = follow(client, begin(client, range(8), endpoint, metadata={"run": "one"}))
        assert statuses == ["validating", "validating", "in_progress", "finalizing", "completed"]
        assert batch.metadata == {"run": "one"} and batch.error_file_id is None and batch.completed_at
        counts = batch.request_counts
        assert (counts.total, counts.completed, counts.failed) == (8, 8, 0)
        lines = read(client, batch.output_file_id)
        assert [line["custom_id"] for line in lines] == [f"q{number}" for number in range(8)]
        assert all(line["error"] is None and line["response"]["status_code"] == 200 for line in lines)
        if "chat" in endpoint:
            message = lines[3]["response"]["body"]["choices"][0]["message"]
            assert message["content"] == chat(client, "question 3").choices[0].message.content
        served = server.served()
        assert [line["custom_id"] for line in served[:8]] == [f"q{number}" for number in range(8)]
        assert server.calls()["POST /v1/batches"] == 1 and server.calls()["GET /v1/batches/{id}"] == 4


def test_lines_are_shuffled_duplicated_failed_and_expired():
    script = {"batch": {"shuffle": True, "duplicate": 0.2, "expire": 0.2, "fail": 0.2, "polls": 0}, "max_faults": 1}
    with StandInServer(script) as server, connect(server) as client:
        batch, statuses = follow(client, begin(client, range(60)))
        assert statuses == ["validating", "expired"] and batch.expired_at
        output, errors = read(client, batch.output_file_id), read(client, batch.error_file_id)
        seen = Counter(line["custom_id"] for line in output)
        assert set(seen.values()) == {1, 2} and list(seen) != sorted(seen, key=lambda name: int(name[1:]))
        expired = {line["custom_id"] for line in errors if line["error"]}
        assert {line["error"]["code"] for line in errors if line["error"]} == {"batch_expired"}
        assert all(line["response"] is None for line in errors if line["error"])
        for lines in (output, errors):  # failures are in either file
            assert any(line["response"] and line["response"]["status_code"] == 500 for line in lines)
        failed = {line["custom_id"] for line in output + errors if line["response"]} - {
            line["custom_id"] for line in output if line["response"]["status_code"] == 200
        }
        assert len(set(seen) | {line["custom_id"] for line in errors}) == 60 == batch.request_counts.total
        assert batch.request_counts.failed == len(expired | failed)
        assert server.counts()["outcomes"] == {
            "answered": 60 - len(expired) - len(failed), "expired": len(expired), "500": len(failed),
        }  # fmt: skip

        again = sorted(int(name[1:]) for name in failed | expired)
        second, _ = follow(client, begin(client, again))
        assert second.status == "completed" and server.counts()["outcomes"]["expired"] == len(expired)
        for number in failed:
            attempts = [line["outcome"] for line in server.served() if line.get("custom_id") == number]
            assert attempts == ["500", "answered"]


def test_contents_of_lines_have_faults_too():
    script = {"faults": {"refusal": 0.3, "length": 0.3, "reset": 0.4}}
    with StandInServer(script) as server, connect(server) as client:
        batch, _ = follow(client, begin(client, range(20)))
        choices = [line["response"]["body"]["choices"][0] for line in read(client, batch.output_file_id)]
        outcomes = server.counts()["outcomes"]
        assert set(outcomes) == {"refusal", "length", "answered"}
        assert sum(bool(choice["message"]["refusal"]) for choice in choices) == outcomes["refusal"]
        assert sum(choice["finish_reason"] == "length" for choice in choices) == outcomes["length"]


def test_batches_are_listed_by_page_and_can_be_cancelled():
    with StandInServer() as server, connect(server) as client:
        ids = [begin(client, range(9), metadata={"part": str(part)}).id for part in range(5)]
        listed = list(client.batches.list(limit=2))  # the client asks for the pages itself
        assert [batch.id for batch in listed] == ids[::-1]
        assert [batch.metadata["part"] for batch in listed] == ["4", "3", "2", "1", "0"]
        assert server.calls()["GET /v1/batches"] == 3
        client.batches.retrieve(ids[0])
        assert client.batches.cancel(ids[0]).status == "cancelling"
        batch, _ = follow(client, client.batches.retrieve(ids[0]))
        assert batch.status == "cancelled" and batch.cancelled_at
        assert len(read(client, batch.output_file_id)) == 3 == server.counts()["paid"]
        with pytest.raises(openai.ConflictError):
            client.batches.cancel(ids[0])


def test_invalid_batches_fail():
    with StandInServer({"batch": {"reject_over_requests": 5, "reject_over_bytes": 900}}) as server:
        client = connect(server)
        for numbers, endpoint, code in [
            (range(6), "/v1/chat/completions", "too_many_tasks"),
            (["x" * 900], "/v1/responses", "file_too_large"),
            ([1, 1], "/v1/responses", "duplicate_custom_id"),
            ([], "/v1/responses", "empty_file"),
        ]:
            batch, statuses = follow(client, begin(client, numbers, endpoint))
            assert statuses == ["validating", "failed"] and batch.failed_at and batch.output_file_id is None
            assert code in {error.code for error in batch.errors.data}
        with pytest.raises(openai.NotFoundError):
            client.batches.create(completion_window="24h", endpoint="/v1/responses", input_file_id="file-none")
        assert server.served() == []
        client.close()


def test_calls_fail_in_turn_as_scripted():
    with StandInServer({"call_faults": {"POST /v1/batches": ["reset", "503"]}}) as server, connect(server) as client:
        with pytest.raises(openai.APIConnectionError):
            begin(client, range(2), metadata={"run": "lost"})
        (lost,) = client.batches.list()  # it was begun, although its answer was lost
        assert lost.metadata == {"run": "lost"}
        with pytest.raises(openai.InternalServerError):
            begin(client, range(2))
        assert begin(client, range(2)).id != lost.id and len(list(client.batches.list())) == 2


def test_no_batch_begins_without_quota():
    with StandInServer({"fatal": "insufficient_quota"}) as server, connect(server) as client:
        for call in (chat, lambda one: begin(one, range(2))):
            with pytest.raises(openai.RateLimitError) as caught:
                call(client)
            assert caught.value.code == "insufficient_quota"
    with StandInServer({"quota_after": 3}) as server, connect(server) as client:
        batch, _ = follow(client, begin(client, range(5)))
        assert batch.request_counts.completed == 3 == server.counts()["paid"]
