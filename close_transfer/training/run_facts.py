"""Facts about a run's training that results and model cards repeat: facts.json, with a checksum in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic takes typing's own from Python 3.12 on

from close_transfer.config.choices import DataRegime, InputModality
from close_transfer.core.atomic_files import damaged_file_error
from close_transfer.core.checksums import read_checked_fields, write_checked_json
from close_transfer.core.schema import Natural, describe_first_problem

_FILE = "facts.json"


class RunFacts(TypedDict):
    """Facts about a run's training.

    Attributes:
        data_regime: what training saw of images, from "T0" (none) to "T4" (pairs).
        input_modality: modality of the model's inputs in training.
        validation_input: description of the validation inputs.
        num_examples: number of training examples.
        num_trained_parameters: number of parameters that training changes.
        num_skipped: number of examples that were left out.
        skipped: the same by reason.
        data_fingerprint: fingerprint of the training examples.
        encoder: name of the encoder.
        encoder_fingerprint: fingerprint of its weights.
    """

    data_regime: DataRegime
    input_modality: InputModality
    validation_input: str
    num_examples: Natural
    num_trained_parameters: Natural
    num_skipped: Natural
    skipped: dict[str, Natural]
    data_fingerprint: str
    encoder: str
    encoder_fingerprint: str


_SCHEMA = TypeAdapter(RunFacts)


def write_facts(run: Path, facts: Mapping[str, Any]) -> None:
    """Write the facts of a new run.

    Raises:
        WriteError: if they cannot be written.
    """
    write_checked_json(run / _FILE, facts)


def read_facts(run: Path) -> dict[str, Any]:
    """Read the facts of a run.

    Raises:
        UserError: if they are missing or damaged.
    """
    facts = read_checked_fields(run / _FILE, dict.fromkeys(RunFacts.__annotations__, object))
    try:
        _SCHEMA.validate_python(facts, strict=True)
    except ValidationError as error:
        raise damaged_file_error(run / _FILE, describe_first_problem(error)) from None
    return facts
