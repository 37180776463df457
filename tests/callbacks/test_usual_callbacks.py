"""Lightning's own callbacks beside ours, and training where a program calls it: in a thread, by `Trainer.predict`."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer

import deeplab_lightning
from deeplab_lightning.__main__ import main
from deeplab_lightning.callbacks.divergence import Divergence
from deeplab_lightning.data.sets.drawn_scenes import DrawnScenesDataModule

from ..tiny import tiny_fit

BEST_OF_LOSS = "{class_path: ModelCheckpoint, init_args: {monitor: val/mIoU, mode: max, save_top_k: 2}}"
USUAL = {
    "second checkpoint": BEST_OF_LOSS,
    "same name": "{class_path: ModelCheckpoint, init_args: {monitor: val/mIoU, mode: max, filename: best}}",
    "rich bar": "{class_path: RichProgressBar}",
    "tqdm bar": "{class_path: TQDMProgressBar, init_args: {refresh_rate: 1}}",
    "timer": "{class_path: Timer, init_args: {duration: '00:01:00:00'}}",
    "timer of parts": "{class_path: Timer, init_args: {duration: {hours: 1}}}",
    "early stopping": "{class_path: EarlyStopping, init_args: {monitor: val/mIoU, mode: max}}",
    "learning rate": "{class_path: LearningRateMonitor}",
    "summary": "{class_path: ModelSummary}",
    "rich summary": "{class_path: RichModelSummary}",
    "on exception": "{class_path: OnExceptionCheckpoint, init_args: {dirpath: kept}}",
}


@pytest.mark.parametrize("name", USUAL)
def test_a_usual_callback_trains_and_resumes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    callbacks = f"--trainer.callbacks=[{USUAL[name]}]"
    bar = "--trainer.enable_progress_bar=true"
    assert tiny_fit(tmp_path, callbacks, bar) == 0
    run = tmp_path / "tiny" / "version_0"
    assert (run / "config.yaml").read_text().count("class_path") >= 1
    assert (run / "checkpoints" / "best.ckpt").is_file()
    more = ["--ckpt_path", str(run / "checkpoints" / "last.ckpt"), "--trainer.max_steps", "4"]
    assert main(["fit", *more, "-c", str(run / "config.yaml")]) == 0


@pytest.mark.parametrize(
    ("monitor", "message"),
    [("val/miou", r"EarlyStopping watches 'val/miou', which is never logged\. Did you mean 'val/mIoU'"),
     ("banana", "EarlyStopping watches 'banana', which is never logged")],
)  # fmt: skip
def test_a_key_that_is_never_logged_is_named_before_training(
    monitor: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = f"--trainer.callbacks=[{{class_path: EarlyStopping, init_args: {{monitor: {monitor}}}}}]"
    assert tiny_fit(tmp_path, stop) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.rglob("last.ckpt"))


class OfMine(Callback):
    """It might log anything."""


def test_beside_a_callback_of_ones_own_such_a_key_is_named_at_the_first_validation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = "{class_path: EarlyStopping, init_args: {monitor: banana}}"
    own = f"{{class_path: {OfMine.__module__}.OfMine}}"
    assert tiny_fit(tmp_path, f"--trainer.callbacks=[{own}, {stop}]") == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("deeplab_lightning fit: --trainer.callbacks: Early stopping conditioned on metric `banana`")


def test_everything_that_is_logged_can_be_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[str]] = {}

    def look(self, trainer, pl_module) -> None:  # type: ignore[no-untyped-def]
        seen["logged"], seen["promised"] = set(trainer.callback_metrics), set(pl_module.logged_in_training())

    monkeypatch.setattr(Divergence, "on_train_end", look, raising=False)
    assert tiny_fit(tmp_path) == 0
    assert seen["logged"] == seen["promised"]


def test_training_in_a_thread(tmp_path: Path) -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(tiny_fit(tmp_path)))
    thread.start()
    thread.join()
    assert codes == [0]
    assert (tmp_path / "tiny" / "version_0" / "checkpoints" / "last.ckpt").is_file()


def test_trainer_predict_and_calling_the_task(tmp_path: Path) -> None:
    assert tiny_fit(tmp_path) == 0
    run = tmp_path / "tiny" / "version_0"
    model = deeplab_lightning.load(run, "cpu")
    data = DrawnScenesDataModule(height=64, width=70, val_size=3, num_workers=0, eval_batch_size=2)
    batches = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False).predict(model.task, datamodule=data)
    assert batches is not None
    masks = [mask for batch in batches for mask in batch["pred"]]
    names = [name for batch in batches for name in batch["sample_id"]]
    dataset = data.dataset("val")
    assert len(masks) == len(set(names)) == len(dataset) == 3
    for index, mask in enumerate(masks):
        assert torch.equal(mask, torch.from_numpy(model.predict(dataset.load(index)[0]).mask))
    image = torch.randint(0, 256, (2, 3, 21, 18), dtype=torch.uint8)
    with torch.no_grad():
        logits = model.task(image)
    assert logits.shape == (2, model.labels.num_classes, 21, 18)
    assert torch.equal(logits[0].argmax(0), torch.from_numpy(model.predict(image[0]).mask).long())
