"""Bug report: versions, machine and settings, as Markdown to paste into an issue."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import yaml

from close_transfer.core.markdown import format_code_block
from close_transfer.reports.redaction import mask_secrets, redact

# Packages whose version has explained a bug before, or changes what is computed.
_PACKAGES = (
    "close-transfer", "torch", "torchvision", "transformers", "tokenizers", "open_clip_torch", "timm", "peft", "accelerate",
    "safetensors", "datasets", "numpy", "hydra-core", "pydantic", "pycocoevalcap", "openai",
)  # fmt: skip
# Reported only as set or not set, because their values are paths.
_VARIABLES = ("CLOSE_TRANSFER_DATA", "CLOSE_TRANSFER_CACHE", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES")


def collect_versions() -> dict[str, str]:
    """Return the installed version by package, for the packages in a report."""
    return {package: _find_version(package) for package in _PACKAGES}


def _find_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def describe_machine() -> dict[str, str]:
    """Return operating system, processor, accelerator and threads, without names of hosts or users."""
    import torch  # imported here, because it takes seconds and `--help` does not need it

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    # Without the kernel's release, which may hold the name of the institution that built it.
    return {
        "python": platform.python_version(),
        "platform": " ".join([platform.system(), platform.machine(), *platform.libc_ver()]).strip(),
        "CPU cores": str(os.cpu_count()),
        "threads of torch": str(torch.get_num_threads()),
        "CUDA": f"{torch.version.cuda or 'none'} ({', '.join(gpus) or 'no GPU found'})",
        **{variable: "set" if variable in os.environ else "not set" for variable in _VARIABLES},
    }


def format_bug_report(settings: Mapping[str, Any] | None = None) -> str:
    """Return a bug report as Markdown.

    Args:
        settings: settings that a run was started with, or None; paths are shortened to their last part.
    """
    facts = describe_machine() | collect_versions()
    lines = [f"- {name}: {value}" for name, value in facts.items()]
    if settings is not None:
        # Masked before the conversion to YAML, whose quotes and escapes would hide the ends of a path.
        text = yaml.safe_dump(mask_secrets(redact(settings)), sort_keys=False, allow_unicode=True)
        lines += ["", "Settings of the run:", "", format_code_block(text.rstrip(), "yaml")]
    return "\n".join(lines)
