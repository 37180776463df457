"""Golden traces: five training steps and one validation of every kind of run, to hold a refactoring against.

    python -m tests.golden.trace            # compares this checkout with traces.json
    python -m tests.golden.trace --record   # writes traces.json anew: only where a number is meant to change

A trace holds the losses and learning rates of all steps, sums and a checksum of the weights at the end, and the
validation's confusion matrix. Everything runs on drawn scenes, on the CPU, in one thread.

The recorded numbers are of a processor with AVX2. One with AVX-512 rounds otherwise, and has them to the bit if it is
told to do without: `ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python -m tests.golden.trace`.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from deeplab_lightning.__main__ import main
from deeplab_lightning.tasks import SegmentationTask

REPOSITORY = Path(__file__).parents[2]
FILE = Path(__file__).with_name("traces.json")
STEPS = 5

COMMON = [
    *("--data.batch_size", "2", "--data.num_workers", "0", "--data.crop_size", "65"),
    *("--data.height", "64", "--data.width", "80", "--data.train_size", "40", "--data.val_size", "5"),
    *("--trainer.max_steps", str(STEPS), "--trainer.val_check_interval", str(STEPS), "--trainer.accelerator", "cpu"),
    *("--trainer.num_sanity_val_steps", "0", "--trainer.log_every_n_steps", "1"),
    *("--trainer.enable_progress_bar", "false"),
]
SMALL = ["--model.backbone", "mobilenetv2_035", "--model.aspp_channels", "16", "--model.decoder_channels", "16"]
STARTS = ["--model.layer_start", "he_normal", "--model.classifier_start", "normal"]
"""Of v3 and v3+ when the traces were recorded."""
TEACHER = "TEACHER"
"""In a variant's options: the checkpoint that the trace `v3plus` left."""

VARIANTS: dict[str, tuple[str, list[str]]] = {
    "v1": ("v1", []),
    "v2": ("v2", []),
    "v2_msc": ("v2", ["--model.backbone", "resnet18", "--model.scales", "[0.5, 0.75, 1.0]"]),
    "v3": ("v3", []),
    "v3_aux": ("v3", ["--model.aux_head", "true"]),
    "v3_cascade": ("v3_cascade", []),
    "v3plus": ("v3plus", []),
    "fcn": ("fcn", ["--data.batch_size", "1"]),
    "unet": ("unet", ["--model.base_width", "16"]),
    "unet_valid": ("unet", ["--model.base_width", "8", "--model.padding", "valid", "--model.batch_norm", "false"]),
    "segnet": ("segnet", []),
    "segnet_basic": ("segnet", ["--model.variant", "basic"]),
    "encoder_decoder": ("encoder_decoder", []),
    "ema": ("v3plus", [*SMALL, "--optimizer.ema_decay", "0.9"]),
    "swa": ("v3plus", [*SMALL, "--optimizer.swa_start", "0.4"]),
    "ohem_dice": (
        "v3plus",
        [*SMALL, *("--loss.cross_entropy", "null", "--loss.ohem.min_kept", "500", "--loss.dice.weight", "0.5")],
    ),
    "all_losses": (
        "v3plus",
        [
            *SMALL,
            *("--loss.cross_entropy.label_smoothing", "0.1", "--loss.cross_entropy.class_weights", "enet"),
            *("--loss.hard_pixels.weight", "0.5", "--loss.hard_pixels.steps", "10", "--loss.focal", "{}"),
            *("--loss.tversky", "{}", "--loss.lovasz", "{}", "--loss.boundary", "{}"),
        ],
    ),
    "distillation": (
        "v3plus",
        [*SMALL, "--loss.distillation.teachers", f"[{TEACHER}]", "--loss.distillation.features", "0.5"],
    ),
    "depth": ("v3plus", [*SMALL, "--loss.depth.weight", "0.1"]),
    "binary": (
        "v3plus",
        [*SMALL, "--model.binary", "true", "--data", "Folder", "--data.class_names", "[ground, thing]"],
    ),
    "group_norm": ("v3plus", [*SMALL, "--model.norm", "group"]),
    "accumulation": ("v3plus", [*SMALL, "--trainer.accumulate_grad_batches", "2"]),
    "bf16": ("v3plus", [*SMALL, "--trainer.precision", "bf16-mixed"]),
    "adamw_cosine": (
        "v3plus",
        [*SMALL, "--optimizer.name", "adamw", "--optimizer.lr", "0.01", "--optimizer.schedule", "cosine"],
    ),
    "augmented": (
        "v3plus",
        [
            *SMALL,
            *("--data.scale_range", "[0.5, 2.0]", "--data.colour_jitter", "0.3", "--data.rotation", "10"),
            *("--data.rare_class_crops", "0.5"),
        ],
    ),
}
SLOW = {"v1", "v2", "v2_msc", "v3_aux", "v3_cascade", "fcn", "unet", "unet_valid", "segnet", "segnet_basic", "swa",
        "all_losses", "group_norm", "adamw_cosine", "encoder_decoder", "distillation", "depth",
        "augmented"}  # fmt: skip
"""Left to the slow tests, so that the others take minutes; `test_configs.py` trains every generation a step."""


def machine() -> dict[str, str]:
    """Return what bit-for-bit equality depends on."""
    cpu = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def trace(name: str, folder: Path) -> dict[str, Any]:
    """Run variant `name` in `folder`, where `v3plus` was run before if it needs a teacher."""
    config, options = VARIANTS[name]
    teacher = folder / "v3plus" / "version_0" / "checkpoints" / "last.ckpt"
    options = [word.replace(TEACHER, str(teacher)) for word in options]
    options += STARTS if config in ("v3", "v3plus") else []
    common = COMMON
    if "Folder" in options:
        common = [
            word
            for option, value in zip(COMMON[::2], COMMON[1::2], strict=True)
            for word in (option, value)
            if option.removeprefix("--data.") not in ("height", "width", "train_size", "val_size")
        ]
        options += ["--data.root", str(write_binary_folder(folder / "binary"))]
    steps: list[dict[str, Any]] = []
    training_step = SegmentationTask.training_step

    def recorded(self: SegmentationTask, batch: Any, batch_idx: int) -> Any:
        loss = training_step(self, batch, batch_idx)
        groups = sorted(self.trainer.optimizers[0].param_groups, key=lambda group: group["name"])
        steps.append({"loss": loss.detach().double().item(), "lr": [group["lr"] for group in groups]})
        return loss

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with mock.patch.object(SegmentationTask, "training_step", recorded):
            words = ["fit", "-c", str(REPOSITORY / "configs" / f"{config}.yaml"), *common, *options]
            code = main([*words, "--run.folder", str(folder), "--run.name", name])
    finally:
        torch.set_num_threads(threads)
    assert code == 0, f"{name} ended with code {code}"
    run = folder / name / "version_0"
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    weights = [value for value in state.values() if value.is_floating_point()]
    with np.load(run / "confusion.npz") as confusion:
        matrix = next(confusion[key] for key in confusion.files if confusion[key].ndim == 2)
    return {
        "losses": [step["loss"] for step in steps],
        "learning_rates": [step["lr"] for step in steps],
        "weights": {
            "sha256": hashlib.sha256(b"".join(value.contiguous().numpy().tobytes() for value in weights)).hexdigest(),
            "sum": sum(value.double().sum().item() for value in weights),
            "squares": sum(value.double().square().sum().item() for value in weights),
        },
        "confusion": matrix.tolist(),
    }


def write_binary_folder(root: Path) -> Path:
    """Write twelve images with a bright square each, and masks of 0 and 1."""
    from PIL import Image

    generator = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    for index in range(12):
        image = generator.integers(0, 120, (64, 80, 3), dtype=np.uint8)
        mask = np.zeros((64, 80), np.uint8)
        top, left = (int(value) for value in generator.integers(0, 40, 2))
        image[top : top + 20, left : left + 30] += 100
        mask[top : top + 20, left : left + 30] = 1
        Image.fromarray(image).save(root / "images" / f"{index:02}.png")
        Image.fromarray(mask).save(root / "masks" / f"{index:02}.png")
    return root


def has_teacher(name: str) -> bool:
    """Return whether the run `v3plus` comes before this variant."""
    return any(TEACHER in word for word in VARIANTS[name][1])


def differences(found: dict[str, Any], expected: dict[str, Any], exactly: bool, after: int = 0) -> list[str]:
    """Return what of a trace is not as recorded: to the bit, or within the rounding of another processor.

    `after` are the steps of training behind a run's first: those of its teacher.
    """
    if exactly:
        # Of the weights the checksum alone: their sums depend on how many threads add them up.
        wrong = [key for key in ("losses", "learning_rates", "confusion") if found[key] != expected[key]]
        return wrong + ["weights"] * (found["weights"]["sha256"] != expected["weights"]["sha256"])
    wrong = []
    # Batch norms of two images amplify rounding from step to step: the first loss is nearly exact, the fifth is not.
    for step, (ours, theirs) in enumerate(zip(found["losses"], expected["losses"], strict=True)):
        if not np.isclose(ours, theirs, rtol=1e-4 * 5 ** (after + step)):
            wrong.append(f"loss of step {step}: {ours}, recorded {theirs}")
    if not np.allclose(found["learning_rates"], expected["learning_rates"], rtol=1e-12):
        wrong.append("learning_rates")
    wrong += [
        f"{key} of the weights: {found['weights'][key]}, recorded {expected['weights'][key]}"
        for key in ("sum", "squares")
        if not np.isclose(found["weights"][key], expected["weights"][key], rtol=1e-2, atol=1.0)
    ]
    ours, theirs = np.array(found["confusion"]), np.array(expected["confusion"])
    if ours.shape != theirs.shape or (ours.sum(1) != theirs.sum(1)).any():
        wrong.append("confusion: other truth")
    return wrong


def _program() -> int:
    names = [word for word in sys.argv[1:] if not word.startswith("--")] or list(VARIANTS)
    recorded = json.loads(FILE.read_text()) if FILE.exists() else {"traces": {}}
    exactly = recorded.get("machine") == machine()
    traces, failed = {}, 0
    with tempfile.TemporaryDirectory() as folder:
        if "v3plus" not in names and any(map(has_teacher, names)):
            trace("v3plus", Path(folder))
        for name in names:
            traces[name] = trace(name, Path(folder))
            if "--record" not in sys.argv:
                after = STEPS * has_teacher(name)
                wrong = differences(traces[name], recorded["traces"][name], exactly, after)
                failed += bool(wrong)
                print(f"{name}: {'; '.join(wrong) or ('equal to the bit' if exactly else 'equal within rounding')}")
    if "--record" in sys.argv:
        text = json.dumps({"machine": machine(), "traces": recorded["traces"] | traces}, indent=1)
        FILE.write_text(text + "\n")
    return failed


if __name__ == "__main__":
    sys.exit(_program())
