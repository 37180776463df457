"""What is done with a network in training, besides its optimiser and its losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from ..options import Options, at_least


@dataclass(frozen=True)
class TaskOptions(Options):
    """Where a network's training starts, and what its classes are where no data tells."""

    section: ClassVar[str] = "model"

    weights: str | None = None
    """Checkpoint of the same network whose weights a new run starts from: the first stage of v3's second one, or what
    `import` wrote. For other classes the classifiers start anew, and `optimizer.head_lr_multiplier` is for them
    alone."""
    compile: bool = False
    """Compile the training step's network (torch.compile): a slow first step, then faster ones."""
    num_classes: Annotated[int, at_least(1)] | None = None
    """Number of classes; it comes from the data, and another one is an error."""
    ignore_index: int | None = None
    """Label that neither loss nor metric counts; it comes from the data, and another one is an error."""
    class_names: list[str] | None = None
    """Names of the classes; they come from the data, and others are an error."""
