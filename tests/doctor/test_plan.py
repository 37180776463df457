"""Rules of a plan: what was said is kept, the time is kept, and what does not fit the memory is not proposed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from deeplab_lightning.backbones import at_hand
from deeplab_lightning.doctor.cost import GIB, Cost
from deeplab_lightning.doctor.facts import Facts
from deeplab_lightning.doctor.plan import (
    START_SECONDS,
    Choice,
    Plan,
    choose_learning,
    choose_length,
    choose_network,
    choose_precision,
    rates_within,
    said,
)
from deeplab_lightning.errors import ConfigError

STREETS = Facts(
    minutes=30, train_images=367, val_images=101, largest_crop=353, val_pixels=480 * 360, imbalance=100, shift=0.09,
    colours=True, images_per_second=100,
)  # fmt: skip
SECONDS = 0.1


def cost(**changes: Any) -> Cost:
    return replace(Cost("cpu", GIB, GIB // 4, SECONDS, 16 * GIB, 257), **changes)


def planned(facts: Facts = STREETS, step: Cost | None = None, **said: Any) -> Plan:
    words = {option.replace("__", "."): Choice(value, "as you said") for option, value in said.items()}
    plan = Plan(words)
    choose_network(plan, None)
    choose_learning(plan, facts)
    choose_length(plan, facts, step or cost())
    return plan


def seconds_of(plan: Plan, facts: Facts, step: Cost) -> float:
    """Count the run's seconds anew: steps with their loading, and validations at 0.4 of a step's cost by the pixel."""
    per_pixel = step.seconds_per_image / step.side**2
    images = plan.value("trainer.max_steps") * plan.value("data.batch_size")
    training = images * (per_pixel * plan.value("data.crop_size") ** 2 + 1 / (facts.images_per_second or 1e9))
    validations = plan.value("trainer.max_steps") // plan.value("trainer.val_check_interval")
    return START_SECONDS + training + validations * facts.val_images * facts.val_pixels * per_pixel * 0.4


@pytest.mark.parametrize("minutes", [3, 10, 30, 120])
@pytest.mark.parametrize("seconds", [0.01, 0.1, 0.5])
def test_a_run_ends_within_its_time_and_uses_it(minutes: float, seconds: float) -> None:
    facts, step = replace(STREETS, minutes=minutes), cost(seconds_per_image=seconds)
    plan = planned(facts, step)
    took = seconds_of(plan, facts, step)
    assert took <= 60 * minutes
    passes = plan.value("trainer.max_steps") * 8 / facts.train_images
    assert took > 0.8 * 60 * minutes or passes > 390
    assert plan.value("trainer.max_steps") % plan.value("trainer.val_check_interval") == 0  # the end is validated


def test_more_time_gives_larger_windows() -> None:
    crops = [planned(replace(STREETS, minutes=minutes)).value("data.crop_size") for minutes in (10, 30, 60, 600)]
    assert crops == sorted(crops)
    assert crops[0] < crops[-1] == 353
    assert all(crop % 16 == 1 for crop in crops)


def test_what_does_not_fit_the_memory_is_not_proposed() -> None:
    little = cost(available=int((1 + 8 * 0.25 * 0.5) * GIB / 0.8))  # half of 8 images of 257 pixels a side
    plan = planned(replace(STREETS, minutes=600), little)
    assert plan.value("data.batch_size") == 8
    assert plan.value("data.crop_size") == 177  # 257 / sqrt(2) is 181
    least = cost(available=int((1 + 0.25 * 129**2 / 257**2 * 3.5) * GIB / 0.8))
    assert (planned(step=least).value("data.crop_size"), planned(step=least).value("data.batch_size")) == (129, 3)
    with pytest.raises(ConfigError, match="One image of 129 pixels a side needs"):
        planned(step=cost(available=GIB))


def test_few_images_make_a_small_batch() -> None:
    assert planned(replace(STREETS, train_images=5)).value("data.batch_size") == 5


def test_too_little_time_is_refused_with_what_would_do() -> None:
    with pytest.raises(ConfigError, match=r"0\.5 minutes do not suffice: a step of 8 images takes .* Give at least"):
        planned(replace(STREETS, minutes=0.5), cost(seconds_per_image=1))


def test_few_steps_are_said_to_be_few() -> None:
    little = planned(replace(STREETS, minutes=1.5), cost(seconds_per_image=0.2)).choices["trainer.max_steps"]
    assert little.value < 100
    assert "too few to learn much: give 2 minutes or more" in little.why
    assert "too few" not in planned().choices["trainer.max_steps"].why


def test_what_was_said_is_kept_and_the_rest_follows() -> None:
    plan = planned(model__output_stride=16, data__crop_size=97, optimizer__name="sgd", data__batch_size=4)
    assert plan.value("model.output_stride") == 16
    assert (plan.value("data.crop_size"), plan.value("data.batch_size")) == (97, 4)
    assert plan.value("optimizer.lr") is None  # of AdamW; SGD's is the user's
    assert plan.choices["data.crop_size"].why == "as you said"
    assert planned(optimizer__lr=0.01).value("optimizer.name") == "sgd"  # a rate of AdamW would be ten times smaller
    larger = planned(data__crop_size=353)
    assert larger.value("trainer.max_steps") < planned(data__crop_size=97).value("trainer.max_steps")


def test_of_files_what_is_read_is_kept_and_how_long_it_takes_is_planned() -> None:
    files = {"data.root": "a", "data.crop_size": 497, "optimizer.lr": 0.2, "trainer.max_steps": 9, "model.name": "UNet"}
    kept, lost = said(files, {"data.batch_size": 3, "trainer.max_steps": 7})
    assert {name: choice.value for name, choice in kept.items()} == {
        "data.root": "a", "model.name": "UNet", "data.batch_size": 3, "trainer.max_steps": 7,
    }  # fmt: skip
    assert lost == ["from your files: data.crop_size 497, optimizer.lr 0.2. What is said on the command line is kept"]
    assert said({"data.root": "a"}, {})[1] == []


def test_the_recipe_follows_where_the_weights_come_from() -> None:
    scratch, backbone = planned(), planned(model__pretrained="w.pth", model__backbone="resnet50")
    network = planned(model__weights="google.ckpt", model__name="DeepLabV3")
    assert [plan.start for plan in (scratch, backbone, network)] == ["nothing", "backbone", "network"]
    assert (scratch.value("model.name"), scratch.value("model.backbone")) == ("DeepLabV3Plus", "mobilenetv2_100")
    assert "none lie on this machine" in scratch.explained()
    assert (backbone.value("model.name"), backbone.value("model.backbone")) == ("DeepLabV3Plus", "resnet50")
    assert network.value("model.backbone") is None  # the weights' own
    rates = [plan.value("optimizer.lr") for plan in (scratch, backbone, network)]
    assert rates == sorted(rates, reverse=True)


def test_other_networks_get_no_options_that_they_do_not_have() -> None:
    options = planned(model__name="UNet").choices
    plan = Plan({"model.name": Choice("UNet", "as you said")})
    choose_network(plan, "efficientnet_lite0")
    assert list(plan.choices) == ["model.name"]
    assert [option for option in options if option.startswith("model.")] == ["model.name"]


def test_weights_in_the_cache_are_taken() -> None:
    plan = Plan({})
    choose_network(plan, "efficientnet_lite0")
    assert (plan.value("model.backbone"), plan.value("model.pretrained")) == ("efficientnet_lite0", True)
    refused = Plan({"model.pretrained": Choice(False, "as you said")})
    choose_network(refused, "efficientnet_lite0")
    assert refused.start == "nothing"


def test_the_cache_of_the_hub_is_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    def cached(repository: str, file: str) -> str | None:
        return "there" if repository.startswith("timm/resnet50.") and file == "model.safetensors" else None

    monkeypatch.setattr(at_hand, "try_to_load_from_cache", cached)
    assert at_hand.first_at_hand(["no_such_network", "mobilenetv2_100", "resnet50"]) == "resnet50"
    assert at_hand.first_at_hand(["mobilenetv2_100"]) is None


def test_bf16_is_taken_where_it_is_quicker_and_right() -> None:
    plan = Plan({})
    assert (
        choose_precision(plan, {"32-true": cost(), "bf16-mixed": cost(seconds_per_image=0.05)}).seconds_per_image
        == 0.05
    )
    assert plan.value("trainer.precision") == "bf16-mixed"
    for slower in (cost(seconds_per_image=0.095), "the loss of step 3 is nan"):
        plan = Plan({})
        choose_precision(plan, {"32-true": cost(), "bf16-mixed": slower})
        assert plan.value("trainer.precision") == "32-true"
    assert "precision bf16-mixed: the loss of step 3 is nan" in plan.explained()
    with pytest.raises(ConfigError, match="No training step could be timed: out of memory"):
        choose_precision(Plan({}), {"32-true": "out of memory"})


def test_the_iou_is_trained_for_unless_losses_are_said() -> None:
    assert planned().value("loss.lovasz") == {"weight": 1.0, "every": 4}
    assert planned(loss__cross_entropy={"class_weights": "enet"}).value("loss.lovasz") is not None
    assert planned(loss__dice={"weight": 1}).value("loss.lovasz") is None
    assert planned(loss__lovasz=None).value("loss.lovasz") is None


def test_rare_classes_get_windows_of_their_own() -> None:
    assert planned().value("data.rare_class_crops") == 0.5  # STREETS has a class that is 100 times rarer than another
    assert planned(replace(STREETS, imbalance=15)).value("data.rare_class_crops") is None
    assert planned(data__rare_class_crops=0.1).value("data.rare_class_crops") == 0.1


def test_dark_images_and_colours() -> None:
    assert planned().value("data.colour_jitter") == 0.5
    assert planned(replace(STREETS, shift=0.0)).value("data.colour_jitter") == 0.3
    assert planned(replace(STREETS, colours=False)).value("data.colour_jitter") is None


@pytest.mark.parametrize(("crop", "rates"), [(129, (1, 2, 3)), (241, (2, 4, 6)), (321, (3, 6, 9)), (577, (6, 12, 18))])
def test_rates_lie_within_the_crop(crop: int, rates: tuple[int, ...]) -> None:
    assert rates_within(crop) == rates
    plan = planned(model__pretrained="w.pth", data__crop_size=crop)
    assert plan.value("model.atrous_rates") == list(rates)


def test_rates_of_weights_and_users_are_kept() -> None:
    assert planned(model__weights="g.ckpt", model__name="DeepLabV3").value("model.atrous_rates") is None
    assert planned(model__pretrained="w.pth", model__atrous_rates=[6]).value("model.atrous_rates") == [6]


def test_large_images_are_evaluated_one_at_a_time() -> None:
    assert planned().value("data.eval_batch_size") is None
    assert planned(replace(STREETS, val_pixels=3e6, minutes=90)).value("data.eval_batch_size") == 1


def test_a_plan_as_yaml_is_read_back() -> None:
    plan = planned(data__label_map={0: 0, 255: 1}, loss__cross_entropy__label_smoothing=0.1, loss__lovasz=None)
    plan.said = {}
    text = plan.as_yaml("first\nsecond")
    assert text.startswith("# first\n# second\n")
    read = yaml.safe_load(text)
    assert read["data"]["label_map"] == {0: 0, 255: 1}
    assert read["loss"] == {"cross_entropy": {"label_smoothing": 0.1}, "lovasz": None}
    assert read["model"]["name"] == "DeepLabV3Plus"
    assert next(iter(read["model"])) == "name"
    assert {f"{section}.{name}" for section, values in read.items() for name in values if section != "loss"} == {
        option for option in plan.choices if not option.startswith("loss.")
    }
