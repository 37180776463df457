"""Nodes of an ONNX graph, written by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..extras import need


class Nodes:
    """Writes nodes at the end of a graph, which is changed.

    Args:
        graph: The graph.
        prefix: Of the names of results; a loop's body has one of its own.
    """

    def __init__(self, graph: Any, prefix: str = "ending") -> None:
        self.onnx = need("onnx", "export", "Export to ONNX")
        self.graph, self.prefix = graph, prefix

    def add(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """Write a node, and return the name of its result."""
        return self.add_several(1, operation, *inputs, **attributes)[0]

    def add_several(self, count: int, operation: str, *inputs: str, **attributes: Any) -> list[str]:
        """Write a node of several results, and return their names."""
        name = self._new()
        names = [name, *(f"{name}_{index}" for index in range(1, count))]
        self.graph.node.append(self.onnx.helper.make_node(operation, inputs, names, name=name, **attributes))
        return names

    def constant(self, values: float | Sequence[Any] | np.ndarray, dtype: type = np.int64) -> str:
        """Write a constant number or array, and return its name."""
        name = self._new()
        self.graph.initializer.append(self.onnx.numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def loop(self, times: str, state: dict[str, int], step: Callable[[Nodes, str, list[str]], list[str]]) -> list[str]:
        """Repeat some nodes, and return the names of the last results.

        Args:
            times: How often, a scalar int64.
            state: Names of first values, and the element types of each, which all have one axis.
            step: Writes the body's nodes from the number of the round and the values, and returns the new values. It
                may read everything that stands before the loop.
        """
        helper, types, name = self.onnx.helper, self.onnx.TensorProto, self._new()
        body = self.onnx.GraphProto(name=name)
        inside = Nodes(body, f"{name}_step")
        index, going, values = f"{name}_index", f"{name}_going", [f"{name}_{key}" for key in range(len(state))]
        kinds = list(state.values())
        body.input.append(helper.make_tensor_value_info(index, types.INT64, []))
        body.input.append(helper.make_tensor_value_info(going, types.BOOL, []))
        body.input.extend(helper.make_tensor_value_info(*of, [None]) for of in zip(values, kinds, strict=True))
        made = [inside.add("Identity", going), *step(inside, index, values)]
        for result, kind, shape in zip(made, (types.BOOL, *kinds), ([], *([None] for _ in kinds)), strict=True):
            body.output.append(helper.make_tensor_value_info(result, kind, shape))
        results = [f"{name}_last_{key}" for key in range(len(state))]
        always = self.constant(True, np.bool_)
        self.graph.node.append(helper.make_node("Loop", [times, always, *state], results, name=name, body=body))
        return results

    def give(self, result: str, name: str, kind: int, shape: list[int | str]) -> None:
        """Make a result an output of the graph."""
        self.graph.node.append(self.onnx.helper.make_node("Identity", [result], [name], name=name))
        self.graph.output.append(self.onnx.helper.make_tensor_value_info(name, kind, shape))

    def _new(self) -> str:
        return f"{self.prefix}_{len(self.graph.node) + len(self.graph.initializer)}"
