"""SPICE (Anderson et al. 2016, arXiv 1607.08822), if Java and the models that its program needs are installed.

The program and its arguments are those of pycocoevalcap. Its class downloads missing files and writes into the
program's folder. Here nothing is downloaded, and temporary files and parsed references are written elsewhere.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pycocoevalcap.spice import get_stanford_models, spice

from close_transfer.core.arrays import Float64Array
from close_transfer.core.atomic_files import report_write_errors
from close_transfer.core.errors import UserError
from close_transfer.metrics.extra_metric import ExtraMetric, MetricInputs
from close_transfer.metrics.java import run_java
from close_transfer.metrics.ptb import get_cache_folder, tokenize_captions

_PROGRAM = Path(spice.__file__).with_name(spice.SPICE_JAR)
LIBRARIES = _PROGRAM.parent / get_stanford_models.SPICELIB
"""The folder in which the Stanford CoreNLP files are expected."""

_MODELS = (f"{get_stanford_models.JAR}.jar", f"{get_stanford_models.JAR}-models.jar")

# SPICE writes its results with a JavaScript engine that only Java 8 to 14 include.
_JAVA_VERSIONS = range(8, 15)


class Spice(ExtraMetric):
    """SPICE times 100."""

    score_names = ("SPICE",)

    def check_requirements(self) -> None:
        require_spice()

    def score(self, inputs: MetricInputs) -> dict[str, Float64Array]:
        cache = get_cache_folder()
        hypotheses, references = tokenize_captions(inputs.captions, inputs.references, cache / "tokenized")
        return {"SPICE": 100 * score_spice(hypotheses, references, cache / "spice")}


def score_spice(hypotheses: Sequence[str], references: Sequence[Sequence[str]], cache: Path) -> Float64Array:
    """Compute SPICE of each image, the F-score over scene-graph tuples in 0..1, shape (images,).

    Args:
        hypotheses: one tokenised caption per image (`ptb.tokenize_captions`).
        references: one or more tokenised captions per image, in the same order.
        cache: folder for the parsed references, because parsing is slow.

    Raises:
        UserError: if Java or the models are missing, or the cache cannot be written.
        RuntimeError: if the program fails.
    """
    java = require_spice()
    images = [
        {"image_id": image, "test": hypothesis, "refs": list(group)}
        for image, (hypothesis, group) in enumerate(zip(hypotheses, references, strict=True))
    ]
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        raise UserError(
            f"extra_metrics=spice: {cache} cannot be written ({error.strerror}), but SPICE stores parsed references there. "
            "Set CLOSE_TRANSFER_CACHE to a writable folder, or leave spice out"
        ) from error
    with tempfile.TemporaryDirectory() as name:
        captions_file, scores_file = Path(name, "captions.json"), Path(name, "scores.json")
        with report_write_errors(captions_file):
            captions_file.write_text(json.dumps(images))
        files = [str(captions_file), "-cache", str(cache.resolve()), "-out", str(scores_file)]
        run_java(["-jar", "-Xmx8G", str(_PROGRAM), *files, "-subset", "-silent"], Path(name), java)
        scores = {result["image_id"]: result["scores"]["All"]["f"] for result in json.loads(scores_file.read_text())}
    return np.array([scores[image] for image in range(len(images))], dtype=float)


def require_spice() -> str:
    """Check that Java and the models are installed, before anything slow is done; return the path of Java.

    Raises:
        UserError: names what is missing, and its expected place.
    """
    missing = [str(LIBRARIES / name) for name in _MODELS if not (LIBRARIES / name).is_file()]
    java, version = _find_java()
    problems = []
    if missing:
        problems.append(
            f"the Stanford CoreNLP 3.6.0 files {' and '.join(missing)} (both are in "
            f"{get_stanford_models.CORENLP}.zip from nlp.stanford.edu/software)"
        )
    if version not in _JAVA_VERSIONS:
        java_found = f"{java} is version {version}" if version else "none was found"
        problems.append(
            f"Java {_JAVA_VERSIONS[0]} to {_JAVA_VERSIONS[-1]} at JAVA_HOME or on the PATH ({java_found}; SPICE needs "
            "a part that later versions lack)"
        )
    if problems:
        raise UserError(f"extra_metrics=spice needs {', and '.join(problems)}. Supply them, or leave spice out")
    assert java is not None
    return java


def _find_java() -> tuple[str | None, int | None]:
    """Return the path of Java at JAVA_HOME, else on the PATH, and its major version; None if there is none."""
    home = os.environ.get("JAVA_HOME")
    java = (home and shutil.which(Path(home, "bin", "java"))) or shutil.which("java")
    if not java:
        return None, None
    version_text = subprocess.run([java, "-version"], capture_output=True).stderr.decode(errors="replace")
    # "1.8.0_292" up to Java 8, "11.0.2" from Java 9 on.
    match = re.search(r'version "(?:1\.)?(\d+)', version_text)
    return java, int(match.group(1)) if match else None
