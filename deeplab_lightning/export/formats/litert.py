"""LiteRT (TFLite), for phones and small computers: one image of one size."""

from __future__ import annotations

import copy
import importlib.metadata
from typing import Any

import numpy as np
import torch

from ...errors import ConfigError
from ...extras import need
from ...files import atomic_open, write_text
from ...models import SegNet
from ..format import Exported, Format, Order, Run
from ..metadata import as_json


class LiteRT(Format):
    """One image of one size, in fp32."""

    suffix = ".tflite"
    precisions = ("fp32",)
    why_not = dict.fromkeys(("fp16", "bf16", "int8"), "LiteRT is written in fp32 here")
    sizes = "one"

    def write(self, order: Order) -> Exported:
        """Write the file, and its metadata beside it, since TFLite has no place for free text.

        Raises:
            ConfigError: The extra `litert` is missing, or the network is SegNet.
        """
        if isinstance(order.model.network, SegNet):
            raise ConfigError(
                "SegNet's unpooling comes out wrong in LiteRT files (litert-torch 0.10: logits are off by as much as "
                "they are large). What works is --format onnx."
            )
        litert_torch = need("litert_torch", "litert", "Export to LiteRT")
        need("ai_edge_litert", "litert", "Running LiteRT")
        image = order.example[:1].clone()
        facts = order.path.with_suffix(".json")
        # litert-torch 0.10 reads weights in channels-last order as if they were in the other one.
        model = copy.deepcopy(order.model).to(memory_format=torch.contiguous_format)
        converted = litert_torch.convert(model, (image,))
        temporary = order.path.with_name(f".{order.path.name}.part.tflite")
        try:
            converted.export(str(temporary))
            with atomic_open(order.path) as file:
                file.write(temporary.read_bytes())
        finally:
            temporary.unlink(missing_ok=True)
        write_text(facts, as_json(order.metadata))
        run_logits = None
        if order.model.outputs != "coarse_logits":
            of_logits = copy.copy(model)
            of_logits.outputs = "logits"
            probe = litert_torch.convert(of_logits, (image,))

            def run_logits(image: np.ndarray) -> np.ndarray:
                return np.asarray(probe(torch.from_numpy(np.ascontiguousarray(image))))

        height, width = image.shape[-2:]
        return Exported(
            order.path,
            _interpreter(str(order.path)),
            run_logits,
            (height, width),
            self.runtime(),
            (f"takes one image of {height}x{width}; its metadata stands in {facts.name}",),
            (facts,),
        )

    def runtime(self) -> str:
        """Return the name and version of LiteRT."""
        return f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}"


def _interpreter(path: str) -> Run:
    runtime = need("ai_edge_litert.interpreter", "litert", "Running LiteRT")
    interpreter: Any = runtime.Interpreter(model_path=path, num_threads=torch.get_num_threads())
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(image: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given, image)
        interpreter.invoke()
        return interpreter.get_tensor(made)

    return run
