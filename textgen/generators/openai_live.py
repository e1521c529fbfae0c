"""Source `openai`: single attempts by the `openai` client. The caller retries, so that each attempt is journalled."""

import json
from collections.abc import Mapping
from typing import Any, Literal

import openai

from textgen.generators.bounded_http import UnreadableBody
from textgen.generators.events import bound_answer_bytes
from textgen.generators.openai_api import (
    PATHS,
    Access,
    Parameters,
    build_request_body,
    is_about_schema,
    read_reply,
)
from textgen.generators.openai_connection import classify_error, make_async_client
from textgen.generators.responses import NO_CONNECTION, NO_SCHEMA, WEB_PAGE, Reply, RequestError
from textgen.text.hashing import to_canonical_json

# Errors while a connection is made, before a request is sent. By name, because the client may change its HTTP library.
_NOT_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol")


class OpenAIClient:
    """Client of an OpenAI-compatible server.

    Attributes:
        server: address of the server, for the journal.
        uses_json_schema: True if requests have a JSON schema; a refusal turns it off if `json_schema` is "auto".
    """

    def __init__(
        self,
        access: Access,
        parameters: Parameters,
        schema: Mapping[str, Any],
        json_schema: Literal["auto", "schema", "text"],
        request_timeout: float,
    ) -> None:
        """Create the client; it makes no connection yet.

        Args:
            access: server and key.
            parameters: parameters of the model.
            schema: JSON schema of the answers.
            json_schema: "text" to send no schema, "schema" to insist on it, "auto" to send it until the server refuses.
            request_timeout: seconds for one attempt, which the caller enforces.
        """
        self.server = access.server
        self.uses_json_schema = json_schema != "text"
        self._is_schema_optional = json_schema == "auto"
        self._has_schema_worked = False
        self._refused: set[tuple[str, int]] = set()  # prompts and seeds that were refused with a schema
        self._access, self._parameters, self._schema = access, parameters, schema
        # Half of the time for a connection, to distinguish a request that was never sent from one that may have been
        # answered. The total is longer than the caller's, which must end the attempt first.
        timeout = openai.Timeout(2 * request_timeout, connect=request_timeout / 2, pool=request_timeout / 2)
        self._client = make_async_client(access, timeout, bound_answer_bytes(parameters.max_output_tokens))

    def list_request_texts(self, prompt: str) -> tuple[str | None, ...]:
        """Return prompt, system message and schema."""
        return prompt, self._parameters.system, to_canonical_json(self._schema) if self.uses_json_schema else None

    async def ask(self, prompt: str, seed: int) -> Reply:
        """Send a prompt once.

        Raises:
            RequestError: if no answer comes.
        """
        is_without = (prompt, seed) in self._refused
        schema = self._schema if self.uses_json_schema and not is_without else None
        body = build_request_body(prompt, self._parameters, schema, seed, self._access)
        try:
            answer = await self._client.post(PATHS[self._access.api], cast_to=object, body=body)
        except openai.APIStatusError as error:
            raise self._classify_error(error, (prompt, seed), schema is not None) from None
        except openai.APIConnectionError as error:
            if isinstance(error.__cause__, UnreadableBody):
                raise RequestError("unreadable body", "reserved", str(error.__cause__)) from None
            cause = type(error.__cause__).__name__
            if cause in _NOT_SENT:
                raise RequestError(NO_CONNECTION, "no", f"the server cannot be reached ({cause})") from None
            raise RequestError("connection lost", "reserved", cause) from None
        except json.JSONDecodeError as error:  # text under the content type of JSON
            answer = error.doc
        except (openai.OpenAIError, ValueError, RecursionError) as error:
            raise RequestError("truncated", "reserved", self._access.mask_key(str(error))) from None
        # Masked before anything else reads it: some servers repeat the request's headers in texts and names.
        try:
            answer = self._access.mask_key(answer)
        except RecursionError:
            raise RequestError("malformed", "reserved", "the answer's JSON is nested too deeply") from None
        try:
            reply = read_reply(answer, self._access.api)
        except RequestError as fault:
            if fault.kind == WEB_PAGE:  # so the address is not the API's, and the request was not accepted
                fault.paid = "no"
            raise
        if schema is not None:
            self._has_schema_worked = True
        elif is_without and not self._has_schema_worked:  # the schema was the reason of the refusal
            self.uses_json_schema = False
        return reply

    def _classify_error(self, error: openai.APIStatusError, asked: tuple[str, int], with_schema: bool) -> RequestError:
        """Return the fault of a refused request; the next attempt after a refusal that may be the schema's has none."""
        fault = classify_error(
            error, self._access, with_schema=with_schema, is_schema_optional=self._is_schema_optional
        )
        if fault.kind == NO_SCHEMA and is_about_schema(fault.detail):
            self.uses_json_schema = False
        elif fault.kind == NO_SCHEMA:
            self._refused.add(asked)
        return fault

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
