"""Device, precision and processes of a training, and whether its steps are recorded as CUDA graphs."""

import torch
from accelerate import Accelerator
from transformers.utils.logging import disable_progress_bar

from close_transfer.config.choices import Precision
from close_transfer.config.components import LoopConfig
from close_transfer.core.errors import UserError

# Recording the graphs of some ten shapes takes about as long as a hundred plain steps.
_MIN_GRAPH_STEPS = 300


def build_accelerator(device: str, precision: Precision) -> Accelerator:
    """Return the accelerator for a device that `pick_device` returned.

    "auto" computes in bf16 on a GPU that has it, else in fp32: T5's activations exceed the range of fp16.

    Raises:
        UserError: if the precision is fp16 and the device is a CPU.
    """
    disable_progress_bar()  # the bar of loading weights would mix with the bar of training
    if ":" in device:  # accelerate uses the current GPU
        torch.cuda.set_device(device)
    if device == "cpu" and precision == "fp16":
        raise UserError("train.precision=fp16: a CPU does not train in fp16. Give train.precision=fp32 or bf16")
    if precision == "auto":
        precision = "bf16" if device != "cpu" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return Accelerator(cpu=device == "cpu", mixed_precision="no" if precision == "fp32" else precision)


def uses_graphs_on(config: LoopConfig, num_steps: int, accelerator: Accelerator) -> bool:
    """Return True if steps are recorded as CUDA graphs: on one GPU, in a training that is long enough."""
    if accelerator.device.type != "cuda" or accelerator.num_processes > 1:
        return False
    return config.cuda_graphs == "always" or (config.cuda_graphs == "auto" and num_steps >= _MIN_GRAPH_STEPS)
