"""Answers of the stand-in server: captions drawn by a hash, JSON for a schema, and response bodies of the API.

An answer depends on the request's body and the script's seed alone, never on the attempt or on the time.
"""

import json
import re
import time
from dataclasses import dataclass
from random import Random

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
REFUSAL = "I'm sorry, but I can't help with that request."

_MAX_WORDS = 12  # words of the prompt's last line in one caption
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
    """Choice of an answer: its text or refusal, and its truncation."""

    text: str | None
    refusal: str | None = None
    is_cut: bool = False


def get_schema(endpoint, body):
    """Return the JSON schema that the answer must follow, or None."""
    if endpoint == CHAT:
        return ((body.get("response_format") or {}).get("json_schema") or {}).get("schema")
    return ((body.get("text") or {}).get("format") or {}).get("schema")


def list_messages(endpoint, body):
    """Return the prompt's texts, one per message.

    Raises:
        ValueError: names the part that the endpoint requires and the body lacks.
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


def count_tokens(text):
    """Count tokens as services charge them, about one per four bytes."""
    return max(1, len(text.encode()) // 4)


def make_answers(script, endpoint, body, identity, fault=None):
    """Make the answers to a request.

    Args:
        script: script of the server.
        endpoint: path of the request.
        body: body of the request.
        identity: name of the request, which decides the words.
        fault: fault of the content, which replaces or spoils a good answer.

    Returns:
        one `Answer` per choice; none for the fault empty-choice.
    """
    if fault == "empty-choice":
        return []
    name = "max_tokens" if endpoint == CHAT else "max_output_tokens"
    max_tokens = body.get("max_completion_tokens") or body.get(name)
    chosen = []
    for index in range((body.get("n") or 1) if endpoint == CHAT else 1):
        text = _good_text(script, endpoint, body, f"{script.seed}/{identity}/{index}")
        if fault == "null-content":
            chosen.append(Answer(None))
        elif fault == "refusal":
            chosen.append(Answer(None, REFUSAL))
        elif fault == "wrong-schema":
            chosen.append(Answer(json.dumps({"unexpected": len(text), "note": "fields that no one asked for"})))
        elif fault == "length":
            chosen.append(Answer(text[: len(text) // 2], is_cut=True))
        elif max_tokens and count_tokens(text) > max_tokens:
            chosen.append(Answer(text.encode()[: 4 * max_tokens].decode(errors="ignore"), is_cut=True))
        else:
            chosen.append(Answer(text))
    return chosen


def _good_text(script, endpoint, body, key):
    if script.answer == "fixed":
        return script.text
    last = list_messages(endpoint, body)[-1].rstrip()
    if script.answer == "echo":
        return last
    words = re.findall(r"\w[\w'-]*", last.splitlines()[-1].rpartition(":")[2] if last else "")
    schema = get_schema(endpoint, body)
    if schema is None:
        return _caption(words, Random(key))
    value = _fill(schema, schema, words, key)
    return json.dumps(value, ensure_ascii=False)


def _caption(words, random):
    """Write a caption with up to 12 of `words` in their order, among 6 to 12 other words."""
    if len(words) > _MAX_WORDS:
        words = [words[place] for place in sorted(random.sample(range(len(words)), _MAX_WORDS))]
    drawn = random.sample(_FILLERS, random.randint(6, 12))
    places = sorted(random.randint(0, len(drawn)) for _ in words)
    for offset, (place, word) in enumerate(zip(places, words, strict=True)):
        drawn.insert(place + offset, word)
    return " ".join(drawn)


def _fill(schema, root, words, key):
    """Draw a value that satisfies `schema` by `key`; strings are captions."""
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


def compute_usage(endpoint, body, chosen):
    """Return the usage of a request in tokens: `input_tokens`, `output_tokens` and `total_tokens`."""
    num_input = count_tokens("\n".join(list_messages(endpoint, body)))
    num_output = sum(count_tokens(answer.text or answer.refusal or "") for answer in chosen)
    return {"input_tokens": num_input, "output_tokens": num_output, "total_tokens": num_input + num_output}


def make_completion(endpoint, body, chosen, used, number):
    """Return the body of an answer with status 200.

    Args:
        endpoint: path of the request.
        body: body of the request.
        chosen: answers, one per choice.
        used: usage to report, or None.
        number: end of the answer's id.
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
                "message": {"role": "assistant", "content": answer.text, "refusal": answer.refusal, "annotations": []},
                "logprobs": None,
                "finish_reason": "length" if answer.is_cut else "stop",
            }
            for index, answer in enumerate(chosen)
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
    is_cut = any(answer.is_cut for answer in chosen)
    status = "incomplete" if is_cut else "completed"
    output = []
    for answer in chosen:
        content = []
        if answer.refusal is not None:
            content = [{"type": "refusal", "refusal": answer.refusal}]
        elif answer.text is not None:
            content = [{"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}]
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
