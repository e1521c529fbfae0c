"""Device, precision and processes of a training, whether its steps are recorded as CUDA graphs, and its optimiser."""

import torch
from accelerate import Accelerator
from transformers.utils.logging import disable_progress_bar

from close_transfer.config.choices import CudaGraphs, Precision
from close_transfer.config.components import LoopConfig
from close_transfer.core.errors import UserError
from close_transfer.encoders.precision import has_bf16

# Recording the graphs of some ten shapes takes about as long as a hundred plain steps.
_MIN_GRAPH_STEPS = 300


def build_accelerator(device: str, precision: Precision, cuda_graphs: CudaGraphs = "auto") -> Accelerator:
    """Return the accelerator for a device that `pick_device` returned.

    "auto" computes in bf16 on a GPU that has it, else in fp32: T5's activations exceed the range of fp16.

    Raises:
        UserError: if the precision is fp16 on a CPU, or if CUDA graphs are to be used always and cannot be.
    """
    disable_progress_bar()  # the bar of loading weights would mix with the bar of training
    if ":" in device:  # accelerate uses the current GPU
        torch.cuda.set_device(device)
    if device == "cpu" and precision == "fp16":
        raise UserError("precision=fp16: a CPU does not train in fp16. Give fp32 or bf16")
    if precision == "auto":
        precision = "bf16" if has_bf16(device) else "fp32"
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision="no" if precision == "fp32" else precision)
    if cuda_graphs == "always" and not _can_use_graphs(accelerator):
        raise UserError("cuda_graphs=always: needs a GPU, and one process. Give cuda_graphs=auto")
    return accelerator


def _can_use_graphs(accelerator: Accelerator) -> bool:
    return accelerator.device.type == "cuda" and accelerator.num_processes == 1


def uses_graphs_on(config: LoopConfig, num_steps: int, accelerator: Accelerator) -> bool:
    """Return True if steps are recorded as CUDA graphs: on one GPU, in a training that is long enough."""
    is_wanted = config.cuda_graphs == "always" or (config.cuda_graphs == "auto" and num_steps >= _MIN_GRAPH_STEPS)
    return is_wanted and _can_use_graphs(accelerator)


def build_optimizer(
    model: torch.nn.Module,
    learning_rate: float,
    weight_decay: float,
    device: torch.device,
    uses_graphs: bool,
    is_fused: bool = False,
) -> torch.optim.AdamW:
    """Return AdamW of the model's trainable parameters.

    Args:
        model: model whose parameters require a gradient if they are trained.
        learning_rate: learning rate of the first step.
        weight_decay: weight decay.
        device: device of the training.
        uses_graphs: True if steps are recorded, which then read the learning rate from the device.
        is_fused: True to update all weights in one kernel on a CPU too; on a GPU it always is one.
    """
    return torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=torch.tensor(learning_rate, device=device) if uses_graphs else learning_rate,
        weight_decay=weight_decay,
        fused=is_fused or device.type == "cuda",
        capturable=uses_graphs,
    )
