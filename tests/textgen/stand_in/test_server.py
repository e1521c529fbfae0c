"""Stand-in server with the real `openai` client: answers and faults of the API."""

import asyncio
import json
import re
from contextlib import suppress
from typing import Literal

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel, Field

from tests.textgen.stand_in.server import StandInServer

QUESTION = "Write a caption.\nKeywords: dog, frisbee"


class Caption(BaseModel):
    caption: str = Field(max_length=200)
    mood: Literal["calm", "busy"]
    tags: list[str] = Field(min_length=3)


def connect(server, **options):
    settings = {"api_key": "sk-any", "base_url": server.base_url, "max_retries": 0, "timeout": 5} | options
    return OpenAI(**settings)


def chat(client, text=QUESTION, **options):
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}], **options)


def respond(client, text=QUESTION, **options):
    return client.responses.create(model="m", input=text, **options)


@pytest.fixture(scope="module")
def server():
    with StandInServer({"models": ["a", "b"]}) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with connect(server) as connected:
        yield connected


def test_a_completion_has_the_fields_of_the_api(client):
    answer = chat(client)
    assert answer.object == "chat.completion" and answer.id and answer.model == "m" and answer.created > 1e9
    assert answer.choices[0].finish_reason == "stop" and answer.choices[0].message.refusal is None
    words = answer.choices[0].message.content.split()
    assert words.index("dog") < words.index("frisbee") and len(words) >= 8
    used = answer.usage
    assert used.prompt_tokens == len(QUESTION) // 4 and used.completion_tokens > 0
    assert used.total_tokens == used.prompt_tokens + used.completion_tokens


def test_a_response_has_the_fields_of_the_api(client):
    answer = respond(client, instructions="Be brief.")
    assert answer.object == "response" and answer.status == "completed" and answer.incomplete_details is None
    assert {"dog", "frisbee"} <= set(answer.output_text.split())
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert answer.usage.output_tokens_details.reasoning_tokens == 0


def test_answers_follow_the_schema_that_is_sent(client):
    message = [{"role": "user", "content": QUESTION}]
    chatted = client.chat.completions.parse(model="m", messages=message, response_format=Caption)
    responded = client.responses.parse(model="m", input=message, text_format=Caption)
    for parsed in (chatted.choices[0].message.parsed, responded.output_parsed):
        assert isinstance(parsed, Caption) and "frisbee" in parsed.caption and len(parsed.tags) == 3


def test_the_same_request_has_the_same_answer(client):
    asked = [f"{QUESTION}\nnumber {index}" for index in range(20)]
    contents = [chat(client, text).choices[0].message.content for text in asked]
    assert contents == [chat(client, text).choices[0].message.content for text in asked]
    fillers = [set(text.split()) - {"number"} for text in contents]
    shared = [len(one & other) / len(one | other) for one in fillers for other in fillers if one is not other]
    assert max(shared) < 0.6 and sum(shared) / len(shared) < 0.15
    assert chat(client, seed=1).choices[0].message.content != chat(client, seed=2).choices[0].message.content


def test_choices_and_limits_of_a_request_are_kept(client):
    assert len({choice.message.content for choice in chat(client, n=3).choices}) == 3
    cut = chat(client, max_completion_tokens=4)
    assert cut.choices[0].finish_reason == "length" and cut.usage.completion_tokens == 4
    assert respond(client, max_output_tokens=4).incomplete_details.reason == "max_output_tokens"
    with pytest.raises(openai.BadRequestError, match="messages"):
        client.chat.completions.create(model="m", messages=[])


def test_models_are_listed(client):
    assert [model.id for model in client.models.list()] == ["a", "b"]
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("a")


@pytest.mark.parametrize(("answer", "content"), [("echo", QUESTION), ("fixed", "so it is")])
def test_other_answers(answer, content):
    with StandInServer({"answer": answer, "text": "so it is", "no_usage": True}) as server, connect(server) as client:
        answered = chat(client)
        assert answered.choices[0].message.content == content and answered.usage is None
        assert respond(client).output_text == content
        assert server.counts()["output_tokens"] > 0


STATUS_FAULTS = {
    "429": openai.RateLimitError,
    "500": openai.InternalServerError,
    "503": openai.InternalServerError,
    "reset": openai.APIConnectionError,
    "reset-before": openai.APIConnectionError,
    "stall": openai.APITimeoutError,
}


@pytest.mark.parametrize("fault", STATUS_FAULTS)
def test_faults_raise_the_clients_errors_and_end(fault):
    with StandInServer({"faults": {fault: 1}, "max_faults": 2}) as server, connect(server) as client:
        hasty = client.with_options(timeout=0.2) if fault == "stall" else client
        for _ in range(2):
            with pytest.raises(STATUS_FAULTS[fault]) as caught:
                chat(hasty)
            if fault.isdigit():
                assert caught.value.status_code == int(fault) and "Retry-After" not in caught.value.response.headers
        assert chat(client).choices[0].message.content
        served, is_paid = server.served(), fault in ("reset", "stall")
        assert [line["outcome"] for line in served] == [fault, fault, "answered"]
        assert [line["paid"] for line in served] == [is_paid, is_paid, True]
        assert [line["attempt"] for line in served] == [1, 2, 3]
        counts = server.counts()
        assert counts["identities"] == 1 and counts["paid_again"] == (2 if is_paid else 0)


@pytest.mark.parametrize(("as_date", "form"), [(False, r"0\.05"), (True, r"\w{3}, \d\d \w{3} \d{4} .* GMT")])
def test_retry_after(as_date, form):
    script = {"faults": {"429-retry-after": 1}, "retry_after_date": as_date, "max_faults": 1}
    with StandInServer(script) as server, connect(server) as client:
        with pytest.raises(openai.RateLimitError) as caught:
            chat(client)
        assert re.fullmatch(form, caught.value.response.headers["Retry-After"])
        if not as_date:  # dates are whole seconds away
            assert chat(client.with_options(max_retries=1), "another").choices


def test_truncated_answers_break_in_transit_or_in_the_json():
    with StandInServer({"faults": {"truncated-json": 1}}) as server, connect(server) as client:
        kinds = set()
        for index in range(12):
            with pytest.raises((openai.APIConnectionError, json.JSONDecodeError)) as caught:
                chat(client, f"question {index}")
            kinds.add(caught.type is json.JSONDecodeError)
        assert kinds == {True, False}
        assert server.counts()["paid"] == 12


def test_faults_of_the_content():
    names = ["empty-choice", "null-content", "refusal", "wrong-schema", "length"]
    with StandInServer({"faults": dict.fromkeys(names, 0.2), "seed": 5}) as server, connect(server) as client:
        chatted = [chat(client, f"question {index}") for index in range(25)]
        responded = [respond(client, f"question {index}") for index in range(25)]
        served = server.served()
    outcomes = [line["outcome"] for line in served]
    assert set(outcomes[:25]) == set(outcomes[25:]) == set(names) and all(line["paid"] for line in served)
    for outcome, answer in zip(outcomes, chatted, strict=False):
        choice = answer.choices[0] if answer.choices else None
        assert (choice is None) == (outcome == "empty-choice")
        if choice is not None:
            assert (choice.message.content is None) == (outcome in ("null-content", "refusal"))
            assert bool(choice.message.refusal) == (outcome == "refusal")
            assert (choice.finish_reason == "length") == (outcome == "length")
            assert (outcome == "wrong-schema") == ("unexpected" in (choice.message.content or ""))
    for outcome, answer in zip(outcomes[25:], responded, strict=True):
        assert (not answer.output) == (outcome == "empty-choice")
        assert (answer.status == "incomplete") == (outcome == "length")
        kinds = [part.type for item in answer.output for part in item.content]
        assert (kinds == ["refusal"]) == (outcome == "refusal")
        assert (kinds == []) == (outcome in ("empty-choice", "null-content"))


def test_permanent_refusals_stay_and_depend_on_the_seed():
    script = {"faults": {"refusal": 0.3, "500": 0.2}, "permanent": ["refusal"], "max_faults": 1}

    def refused(seed):
        with StandInServer(script | {"seed": seed}) as server, connect(server) as client:
            for index in [*range(20)] * 4:
                with suppress(openai.InternalServerError):
                    chat(client, f"question {index}")
            outcomes = [line["outcome"] for line in server.served()]
        rounds = [outcomes[20 * turn :][:20] for turn in range(4)]
        for question in zip(*rounds, strict=True):
            assert set(question) == {"refusal"} or ("refusal" not in question and question.count("500") <= 1)
        assert {"refusal", "500", "answered"} == set(outcomes)
        return rounds

    first = refused(0)
    assert refused(0) == first != refused(1)


def test_permanent_errors_stay():
    with StandInServer({"key": "sk-right", "quota_after": 2, "no_schema": True}) as server, connect(server) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            chat(client)
        assert caught.value.code == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            client.models.list()
        right = client.with_options(api_key="sk-right")
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
        with pytest.raises(openai.BadRequestError, match="response_format"):
            chat(right, response_format=form)
        assert chat(right) and respond(right)
        for _ in range(2):
            with pytest.raises(openai.RateLimitError) as quota:
                chat(right)
            assert quota.value.code == "insufficient_quota"
        assert server.counts()["outcomes"] == {"401": 1, "400": 1, "answered": 2, "insufficient_quota": 2}


def test_concurrent_requests_wait_in_parallel():
    async def ask(server):
        async with AsyncOpenAI(api_key="k", base_url=server.base_url, max_retries=0) as client:
            return await asyncio.gather(*(chat(client, f"question {index}") for index in range(16)))

    with StandInServer({"delay": 0.3}) as server:
        assert len(asyncio.run(ask(server))) == 16
        assert max(line["in_flight"] for line in server.served()) == 16


@pytest.mark.parametrize("script", [{"faults": {"no-such": 1}}, {"fault": {}}, {"call_faults": {"x": ["stall"]}}])
def test_misspelt_scripts_do_not_start(script, capfd):
    with pytest.raises(RuntimeError, match="did not start"), StandInServer(script):
        pass
    assert "Error" in capfd.readouterr().err
