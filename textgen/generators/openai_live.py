"""source=openai: the `openai` client, one attempt at a time; retries are the caller's, so that each is journalled."""

from collections.abc import Mapping
from typing import Any, Literal

import openai

from textgen.generators.openai_api import (
    PATHS,
    Access,
    Parameters,
    build_request_body,
    classify_status,
    parse_retry_after,
    read_reply,
)
from textgen.generators.responses import NO_CONNECTION, NO_SCHEMA, Reply, RequestError
from textgen.text.hashing import to_canonical_json

# Errors of making a connection, before any request was sent; by name, as the client's HTTP library may change.
_NOT_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol")


class OpenAIClient:
    """Asks an OpenAI-compatible server.

    Attributes:
        server: its address, for the journal.
        json_schema: whether answers are asked for by JSON schema; with "auto" a server's refusal ends that.
    """

    def __init__(
        self,
        access: Access,
        parameters: Parameters,
        schema: Mapping[str, Any],
        json_schema: Literal["auto", "schema", "text"],
        deadline: float,
    ) -> None:
        """Makes no connection yet.

        The caller keeps the `request_timeout`, in seconds. Half of it bounds the making of a connection here, so that what was
        never sent is told apart from what may have been answered.
        """
        self.server = access.server
        self.uses_json_schema = json_schema != "text"
        self._optional = json_schema == "auto"
        self._access, self._parameters, self._schema = access, parameters, schema
        timeout = openai.Timeout(2 * deadline, connect=deadline / 2, pool=deadline / 2)
        # As many connections as requests under way, and all kept open; the client's own limits are 1,000 and 100.
        limits = type(openai.DEFAULT_CONNECTION_LIMITS)(max_connections=None, max_keepalive_connections=None)
        self._client = openai.AsyncOpenAI(
            api_key=access.key,
            base_url=access.base_url,
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultAsyncHttpxClient(limits=limits, timeout=timeout),
        )

    def request_texts(self, prompt: str) -> tuple[str | None, ...]:
        """Prompt, system message and schema."""
        return prompt, self._parameters.system, to_canonical_json(self._schema) if self.uses_json_schema else None

    async def ask(self, prompt: str, seed: int) -> Reply:
        """One attempt.

        Raises:
            RequestError: if it brings no answer.
        """
        schema = self._schema if self.uses_json_schema else None
        body = build_request_body(prompt, self._parameters, schema, seed, self._access)
        try:
            answer = await self._client.post(PATHS[self._access.api], cast_to=object, body=body)
        except openai.APIStatusError as error:
            raise self._classify_error(error, schema is not None) from None
        except openai.APIConnectionError as error:
            cause = type(error.__cause__).__name__
            if cause in _NOT_SENT:
                raise RequestError(NO_CONNECTION, "no", f"the server cannot be reached ({cause})") from None
            raise RequestError("connection lost", "reserved", cause) from None
        except (openai.OpenAIError, ValueError, RecursionError) as error:
            raise RequestError("truncated", "reserved", self._access.masked(str(error))) from None
        reply = read_reply(answer, self._access.api)
        if reply.refusal:
            return Reply(
                "",
                self._access.masked(reply.refusal),
                reply.input_tokens,
                reply.output_tokens,
                reply.model,
                reply.is_truncated,
            )
        return reply

    def _classify_error(self, error: openai.APIStatusError, with_schema: bool) -> RequestError:
        # The body's own message: the client's adds the whole body to it.
        error_fields = error.body if isinstance(error.body, Mapping) else {}
        message = self._access.masked(str(error_fields.get("message") or error.message))
        code = error_fields.get("code") or error.code
        retry_after = parse_retry_after(error.response.headers)
        fault = classify_status(error.status_code, message, code, retry_after, with_schema, self._optional)
        if fault.kind == NO_SCHEMA:
            self.uses_json_schema = False
        return fault

    async def close(self) -> None:
        """Ends the connections."""
        await self._client.close()
