"""Answers of the stand-in server: captions drawn by hash, JSON for a schema, and bodies as the API shapes them.

An answer depends on the request's body and the script's seed alone, never on the attempt or on the time.
"""

import json
import re
import time
from dataclasses import dataclass
from random import Random

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
REFUSAL = "I'm sorry, but I can't help with that request."

_MAX_WORDS = 12  # of the prompt's last line in one caption
_TEXT = """
above across afternoon against among ancient apple arch autumn balcony bench beside bicycle black blue boat bottle
branch brick bridge bright broken brown bucket busy calm camera candle carpet chair child church clean climbing cloud
coat cold corner cotton couple crossing crowd curtain dark door driving dusty early edge empty evening falling family
farmer fence field fire floor flower flying foggy forest fountain garden gate gentle glass golden grass gravel green
grey hanging harbour hat heavy hill holding house iron jacket jumping kitchen ladder lake lamp large laughing leather
light little lonely looking marble market meadow metal mirror misty morning mountain muddy narrow near night old open
orange painted paper path pink plate pond porch quiet railing rainy reading red resting river road roof rope round
rusty sailing sandy shadow sharp shelf shiny shore silver sitting sleeping small smoke snowy soft square stairs
standing station steep stone stormy street striped sunny table tall tent tiny tower towel tree tunnel under valley
velvet village violet waiting walking wall warm water wet white wide wild window winter wooden yard yellow young
"""
_FILLERS = _TEXT.split()


@dataclass(frozen=True)
class Answer:
    """One choice: what it says or how it refuses, and whether it was cut short."""

    text: str | None
    refusal: str | None = None
    is_cut: bool = False


def schema_of(endpoint, body):
    """The JSON schema that the answer must follow, or None."""
    if endpoint == CHAT:
        return ((body.get("response_format") or {}).get("json_schema") or {}).get("schema")
    return ((body.get("text") or {}).get("format") or {}).get("schema")


def messages_of(endpoint, body):
    """The prompt's texts, one a message.

    Raises:
        ValueError: if the body lacks what the endpoint requires; says what.
    """
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise ValueError("you must provide a model parameter")
    if body.get("stream"):
        raise ValueError("this server does not stream")
    name = "messages" if endpoint == CHAT else "input"
    items = body.get(name)
    if isinstance(items, str) and endpoint == RESPONSES:
        items = [{"role": "user", "content": items}]
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise ValueError(f"Missing required parameter: '{name}'.")
    first = [body["instructions"]] if body.get("instructions") else []
    return first + [_text(item.get("content")) for item in items]


def _text(content):
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content)
    return content or ""


def num_tokens(text):
    """As services charge them, about four bytes a token."""
    return max(1, len(text.encode()) // 4)


def answers(script, endpoint, body, identity, fault=None):
    """What is said to a request.

    Args:
        identity: names the request; draws the words.
        fault: a fault of the content, which takes the place of a good answer or spoils it.

    Returns:
        An `Answer` a choice; none with the fault empty-choice.
    """
    if fault == "empty-choice":
        return []
    name = "max_tokens" if endpoint == CHAT else "max_output_tokens"
    most = body.get("max_completion_tokens") or body.get(name)
    chosen = []
    for index in range((body.get("n") or 1) if endpoint == CHAT else 1):
        text = _good_text(script, endpoint, body, f"{script.seed}/{identity}/{index}")
        if fault == "null-content":
            chosen.append(Answer(None))
        elif fault == "refusal":
            chosen.append(Answer(None, REFUSAL))
        elif fault == "wrong-schema":
            chosen.append(Answer(json.dumps({"unexpected": len(text), "note": "fields that nobody asked for"})))
        elif fault == "length":
            chosen.append(Answer(text[: len(text) // 2], is_cut=True))
        elif most and num_tokens(text) > most:
            chosen.append(Answer(text.encode()[: 4 * most].decode(errors="ignore"), is_cut=True))
        else:
            chosen.append(Answer(text))
    return chosen


def _good_text(script, endpoint, body, key):
    if script.answer == "fixed":
        return script.text
    last = messages_of(endpoint, body)[-1].rstrip()
    if script.answer == "echo":
        return last
    words = re.findall(r"\w[\w'-]*", last.splitlines()[-1].rpartition(":")[2] if last else "")
    schema = schema_of(endpoint, body)
    if schema is None:
        return _caption(words, Random(key))
    value = _fill(schema, schema, words, key)
    return json.dumps(value, ensure_ascii=False)


def _caption(words, random):
    """`words` in their order, at most 12, among 6 to 12 others."""
    if len(words) > _MAX_WORDS:
        words = [words[place] for place in sorted(random.sample(range(len(words)), _MAX_WORDS))]
    drawn = random.sample(_FILLERS, random.randint(6, 12))
    places = sorted(random.randint(0, len(drawn)) for _ in words)
    for offset, (place, word) in enumerate(zip(places, words, strict=True)):
        drawn.insert(place + offset, word)
    return " ".join(drawn)


def _fill(schema, root, words, key):
    """A value that satisfies `schema`, drawn by `key`; strings are captions."""
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    random = Random(key)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return random.choice(schema["enum"])
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return _fill(schema[several][0], root, words, key)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {
            name: _fill(one, root, words, f"{key}/{name}") for name, one in (schema.get("properties") or {}).items()
        }
    if kind == "array":
        count = schema.get("minItems") or schema.get("maxItems") or 1
        items = schema.get("items") or {"type": "string"}
        if schema.get("uniqueItems") and "enum" in items:
            return random.sample(items["enum"], count)
        return [_fill(items, root, words, f"{key}/{index}") for index in range(count)]
    if kind in ("integer", "number"):
        low = schema.get("minimum", min(0, schema.get("maximum", 0)))
        high = schema.get("maximum", low + 100)
        return random.randint(low, high) if kind == "integer" else random.uniform(low, high)
    if kind == "boolean":
        return random.random() < 0.5
    if kind == "null":
        return None
    text = _caption(words, random)
    while len(text) < schema.get("minLength", 0):
        text += " " + random.choice(_FILLERS)
    return text[: schema.get("maxLength")]


def usage(endpoint, body, chosen):
    """What a request costs, in tokens: `input_tokens`, `output_tokens` and `total_tokens`."""
    asked = num_tokens("\n".join(messages_of(endpoint, body)))
    said = sum(num_tokens(one.text or one.refusal or "") for one in chosen)
    return {"input_tokens": asked, "output_tokens": said, "total_tokens": asked + said}


def completion(endpoint, body, chosen, used, number):
    """The body of an answer with status 200.

    Args:
        used: the usage to show, or None.
        number: what the answer's id ends with.
    """
    return (_chat if endpoint == CHAT else _response)(body, chosen, used, number)


def _chat(body, chosen, used, number):
    shape = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": one.text, "refusal": one.refusal, "annotations": []},
                "logprobs": None,
                "finish_reason": "length" if one.is_cut else "stop",
            }
            for index, one in enumerate(chosen)
        ],
        "service_tier": "default",
        "system_fingerprint": "fp_stand_in",
    }
    if used:
        shape["usage"] = {
            "prompt_tokens": used["input_tokens"],
            "completion_tokens": used["output_tokens"],
            "total_tokens": used["total_tokens"],
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }
    return shape


def _response(body, chosen, used, number):
    is_cut = any(one.is_cut for one in chosen)
    status = "incomplete" if is_cut else "completed"
    output = []
    for one in chosen:
        content = []
        if one.refusal is not None:
            content = [{"type": "refusal", "refusal": one.refusal}]
        elif one.text is not None:
            content = [{"type": "output_text", "text": one.text, "annotations": [], "logprobs": []}]
        output.append(
            {"type": "message", "id": f"msg_{number}", "status": status, "role": "assistant", "content": content}
        )
    shape = {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": body.get("metadata") or {},
        "model": body["model"],
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": bool(body.get("store", True)),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
    }
    if used:
        shape["usage"] = used | {
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        }
    return shape
