"""Writes TensorFlow's own files, with TensorFlow: DeepLabs by the names of the official code, and their logits.

    python tensorflow_writer.py NETWORK FOLDER

runs where TensorFlow is installed, and leaves `model.ckpt.*`, `graph.pb`, `image.npy` `(1, h, w, 3)` and `logits.npy`
`(1, h, w, classes)`. NETWORK is mobilenet_v2 (depth multiplier 0.5), xception_41 or resnet_v1_50_beta. Everything is
TensorFlow's own arithmetic; nothing is imported from the package that is tested.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

CLASSES, SIDE = 5, 65


def variable(name: str, shape: list[int], low: float, high: float) -> Any:
    return tf.get_variable(name, shape, tf.float32, tf.random_uniform_initializer(low, high))


def batch_norm(x: Any, eps: float) -> Any:
    channels = [x.shape[-1]]
    with tf.variable_scope("BatchNorm"):
        gamma, beta = variable("gamma", channels, 0.5, 1.5), variable("beta", channels, -0.2, 0.2)
        mean, variance = variable("moving_mean", channels, -0.1, 0.1), variable("moving_variance", channels, 0.5, 1.5)
    return tf.nn.batch_normalization(x, mean, variance, beta, gamma, eps)


def conv(x: Any, scope: str, out: int, kernel: int = 1, *, stride: int = 1, rate: int = 1, eps: float, relu: Any = None,
         depthwise: bool = False) -> Any:  # fmt: skip
    """A convolution with batch norm; with a stride it is padded on both sides, as the official code does."""
    channels = int(x.shape[-1])
    reach = (kernel - 1) * rate
    if reach:
        x = tf.pad(x, [[0, 0], [reach // 2] * 2, [reach // 2] * 2, [0, 0]])
    bound = (6 / (kernel * kernel * (1 if depthwise else channels))) ** 0.5
    with tf.variable_scope(scope):
        if depthwise:
            weights = variable("depthwise_weights", [kernel, kernel, channels, 1], -bound, bound)
            x = tf.nn.depthwise_conv2d(x, weights, [1, stride, stride, 1], "VALID", dilations=[rate, rate])
        else:
            weights = variable("weights", [kernel, kernel, channels, out], -bound, bound)
            x = tf.nn.conv2d(x, weights, [1, stride, stride, 1], "VALID", dilations=[1, rate, rate, 1])
        x = batch_norm(x, eps)
    return x if relu is None else relu(x)


def resize(x: Any, like: Any) -> Any:
    return tf.image.resize_bilinear(x, [int(side) for side in like.shape[1:3]], align_corners=True)


def mobilenet_v2(x: Any) -> tuple[Any, Any]:
    """Depth multiplier 0.5, output stride 16: the unit that lost its stride keeps the old rate."""
    plan = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 1), (6, 320, 1, 1)]
    with tf.variable_scope("MobilenetV2"):
        x = conv(x, "Conv", 16, 3, stride=2, eps=1e-3, relu=tf.nn.relu6)
        index = 0
        for expansion, channels, count, first_stride in plan:
            for unit in range(count):
                before, stride = x, first_stride if unit == 0 else 1
                rate = 2 if index >= 14 else 1
                with tf.variable_scope(f"expanded_conv_{index}" if index else "expanded_conv"):
                    if expansion > 1:
                        x = conv(x, "expand", expansion * int(x.shape[-1]), eps=1e-3, relu=tf.nn.relu6)
                    x = conv(x, "depthwise", 0, 3, stride=stride, rate=rate, eps=1e-3, relu=tf.nn.relu6, depthwise=True)
                    x = conv(x, "project", channels // 2, eps=1e-3)
                x = x + before if stride == 1 and x.shape[-1] == before.shape[-1] else x
                index += 1
    return None, x


def separable(x: Any, scope: str, out: int, *, stride: int = 1, rate: int = 1, eps: float, relu: Any = None) -> Any:
    x = conv(x, f"{scope}_depthwise", 0, 3, stride=stride, rate=rate, eps=eps, relu=relu, depthwise=True)
    return conv(x, f"{scope}_pointwise", out, eps=eps, relu=relu)


def xception_41(x: Any) -> tuple[Any, Any]:
    """Output stride 16: the exit flow loses its stride, its second block has rate 2."""
    low = None
    with tf.variable_scope("xception_41"):
        with tf.variable_scope("entry_flow"):
            x = conv(x, "conv1_1", 32, 3, stride=2, eps=1e-3, relu=tf.nn.relu)
            x = conv(x, "conv1_2", 64, 3, eps=1e-3, relu=tf.nn.relu)
        blocks = [
            (f"entry_flow/block{number}/unit_1", [width] * 3, "conv", 2, 1)
            for number, width in enumerate((128, 256, 728), start=1)
        ]
        blocks += [(f"middle_flow/block1/unit_{unit}", [728] * 3, "sum", 1, 1) for unit in range(1, 9)]
        blocks += [("exit_flow/block1/unit_1", [728, 1024, 1024], "conv", 1, 1),
                   ("exit_flow/block2/unit_1", [1536, 1536, 2048], "none", 1, 2)]  # fmt: skip
        for scope, widths, skip, stride, rate in blocks:
            with tf.variable_scope(f"{scope}/xception_module"):
                before = x
                inner = skip == "none"  # whether activations stand within and behind the separable convolutions
                for index, width in enumerate(widths, start=1):
                    x = x if inner else tf.nn.relu(x)
                    x = separable(x, f"separable_conv{index}", width, stride=stride if index == 3 else 1, rate=rate,
                                  eps=1e-3, relu=tf.nn.relu if inner else None)  # fmt: skip
                    if scope.startswith("entry_flow/block2") and index == 2:
                        low = x
                if skip == "conv":
                    x = x + conv(before, "shortcut", widths[-1], stride=stride, eps=1e-3)
                elif skip == "sum":
                    x = x + before
    return low, x


def resnet_v1_50_beta(x: Any) -> tuple[Any, Any]:
    """Output stride 16: strides in the last unit of the block before; multi-grid 1, 2, 4."""
    relu, low = tf.nn.relu, None
    with tf.variable_scope("resnet_v1_50"):
        for number, (width, stride) in enumerate(((64, 2), (64, 1), (128, 1)), start=1):
            x = conv(x, f"conv1_{number}", width, 3, stride=stride, eps=1e-5, relu=relu)
        x = tf.nn.max_pool2d(x, 3, 2, "SAME")
        for block, (count, last_stride) in enumerate(((3, 2), (4, 2), (6, 1), (3, 1)), start=1):
            width = 32 * 2**block
            for unit in range(1, count + 1):
                stride = last_stride if unit == count else 1
                rate = 2 * (1, 2, 4)[unit - 1] if block == 4 else 1
                with tf.variable_scope(f"block{block}/unit_{unit}/bottleneck_v1"):
                    if unit == 1:
                        shortcut = conv(x, "shortcut", 4 * width, stride=stride, eps=1e-5)
                    else:
                        shortcut = x if stride == 1 else tf.nn.max_pool2d(x, 1, stride, "SAME")
                    x = conv(x, "conv1", width, eps=1e-5, relu=relu)
                    x = conv(x, "conv2", width, 3, stride=stride, rate=rate, eps=1e-5, relu=relu)
                    x = conv(x, "conv3", 4 * width, eps=1e-5)
                    if (block, unit) == (1, 2):
                        low = x
                    x = relu(shortcut + x)
    return low, x


def deeplab(trunk: Any, image: Any) -> Any:
    low, features = trunk(image)
    relu, width = tf.nn.relu, 16
    pooled = conv(tf.reduce_mean(features, [1, 2], keepdims=True), "image_pooling", width, eps=1e-5, relu=relu)
    branches = [resize(pooled, features), conv(features, "aspp0", width, eps=1e-5, relu=relu)]
    if low is not None:
        for index, rate in enumerate((6, 12, 18), start=1):
            branches.append(separable(features, f"aspp{index}", width, rate=rate, eps=1e-5, relu=relu))
    x = conv(tf.concat(branches, 3), "concat_projection", width, eps=1e-5, relu=relu)
    if low is not None:
        with tf.variable_scope("decoder"):
            low = conv(low, "feature_projection0", 48, eps=1e-5, relu=relu)
            x = tf.concat([resize(x, low), low], 3)
            for index in (0, 1):
                x = separable(x, f"decoder_conv{index}", width, eps=1e-5, relu=relu)
    with tf.variable_scope("logits/semantic"):
        weights = variable("weights", [1, 1, width, CLASSES], -1, 1)
        x = tf.nn.conv2d(x, weights, 1, "SAME") + variable("biases", [CLASSES], -1, 1)
    return tf.identity(resize(x, image), "scores")


def write(network: str, folder: Path) -> None:
    tf.disable_eager_execution()
    tf.set_random_seed(0)
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, SIDE, SIDE, 3)).astype(np.float32)
    image = tf.placeholder(tf.float32, pixels.shape, "image")
    logits = deeplab(
        {trunk.__name__: trunk for trunk in (mobilenet_v2, xception_41, resnet_v1_50_beta)}[network], image
    )
    tf.get_variable("global_step", [], tf.int64, tf.zeros_initializer())
    tf.get_variable("logits/semantic/weights/Momentum", [1, 1, 16, CLASSES])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(folder / "model.ckpt"), write_meta_graph=False)
        np.save(folder / "image.npy", pixels)
        np.save(folder / "logits.npy", session.run(logits, {image: pixels}))
        graph = tf.graph_util.convert_variables_to_constants(session, session.graph_def, ["scores"])
    (folder / "graph.pb").write_bytes(graph.SerializeToString())


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
