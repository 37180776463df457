"""What files and options say, as options."""

from __future__ import annotations

from pathlib import Path

from deeplab_lightning.config_words import said_in


def test_files_and_options_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("model: {name: DeepLabV3, output_stride: 16}\ndata: {label_map: {0: 0, 255: 1}}\n")
    (tmp_path / "b.yaml").write_text("model: {output_stride: 8}\nseed_everything: 3\n")
    words = ["-c", str(tmp_path / "a.yaml"), "-c", str(tmp_path / "b.yaml"), "--data.flip", "0"]
    words += [
        "--model=DeepLabV3Plus",
        "--loss.dice.weight=0.5",
        "--data.class_names",
        "[no_void, '1']",
        "--seed_everything",
        "7",
    ]
    assert said_in(words) == {
        "model.name": "DeepLabV3Plus",
        "model.output_stride": 8,
        "loss.dice": {"weight": 0.5},
        "data.label_map": {0: 0, 255: 1},
        "data.flip": 0,
        "data.class_names": ["no_void", "1"],
    }


def test_nothing_was_said() -> None:
    assert said_in([]) == {}
