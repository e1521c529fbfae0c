"""write_picturebook_text.py: write Picturebook's captions, or its questions and answers, without drawing images."""

import json
from collections import Counter
from pathlib import Path

from close_transfer.config.write_picturebook_text import WritePicturebookTextConfig
from close_transfer.core.atomic_files import write_text
from close_transfer.core.console import show
from close_transfer.core.output_paths import is_standard_output
from close_transfer.data.example_kinds import EXAMPLE_KINDS
from close_transfer.data.sources import load_examples


def main(config: WritePicturebookTextConfig) -> None:
    """Write the file, and print the number of lines."""
    examples = load_examples(config.data, EXAMPLE_KINDS[config.what], config.split).examples
    lines = []
    for example in examples:
        if config.what == "captions":
            lines += [{"group": example.id, "text": text} for text in example.texts]
            continue
        answer = Counter(example.references).most_common(1)[0][0]
        fields = {"scene": example.texts[0], "question": example.prompt, "answer": answer}
        lines.append({"group": example.id, **fields, "text": config.form.format(**fields)})
    if config.per_line > 1:
        texts = [line["text"] for line in lines]
        lines = [{"text": " ".join(texts[i : i + config.per_line])} for i in range(0, len(texts), config.per_line)]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    if is_standard_output(config.output):
        show(content.rstrip("\n"))
        return
    write_text(Path(config.output), content)
    show(f"{len(lines):,} lines of split={config.split} in {config.output}")
