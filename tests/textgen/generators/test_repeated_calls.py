"""Calls that are repeated: the words of the last error."""

import json

import pytest

from close_transfer.core.errors import UserError
from close_transfer.core.signals import StopRequest
from textgen.generators.limits import Limits
from textgen.generators.openai_api import Access
from textgen.generators.repeated_calls import RepeatedCalls, UnexpectedAnswer

KEY = "sk-planted-4f1b9c7e2a60d853"
ACCESS = Access("http://localhost:1/v1", KEY, "chat")


def fail(error):
    """Return the message after a call that always raises this error."""

    def call():
        raise error

    calls = RepeatedCalls(ACCESS, Limits(concurrency=1, max_attempts=1, initial_backoff=0), StopRequest())
    with pytest.raises(UserError) as failure:
        calls.repeat(call)
    return str(failure.value)


ANSWER = "x" * 185 + " " + KEY


@pytest.mark.parametrize(
    "error",
    [UnexpectedAnswer("no list", ANSWER), json.JSONDecodeError("", ANSWER, 0)],
    ids=lambda error: type(error).__name__,
)
def test_a_key_is_masked_before_the_words_of_an_answer_are_cut(error):
    message = fail(error)
    assert "xx [key])" in message and KEY[:6] not in message


def test_a_message_that_was_cut_ends_in_one_full_stop():
    assert fail(ValueError("HTTP 400: the model ...")) == (
        "http://localhost:1/v1: HTTP 400: the model. All answers are kept. Run the same command to continue"
    )
