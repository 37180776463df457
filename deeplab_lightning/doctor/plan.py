"""What to train on a data set in so many minutes: every setting with its reason, from what was measured.

The rules stand here and nowhere else, in the order in which they decide: network, optimiser, augmentation, loss; then,
once steps were timed, precision, crop and length. What the user said is kept, and the rest follows it. docs/planner.md
has the experiment behind each rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from ..errors import ConfigError
from .advice import IMBALANCE, SHIFT
from .cost import GIB, Cost
from .facts import Facts
from .layouts import LOVASZ, LOVASZ_WHY
from .yaml_lines import section, value_of

SECTIONS = ("model", "optimizer", "loss", "data", "evaluation", "trainer")

BATCH = 8
PROBE_CROP = 257
"""Side of the images of the timed steps, in pixels, where the data's are not smaller."""
PROBE_BATCHES = (1, 1, 2, 2, BATCH, BATCH, BATCH)
PRECISIONS = ("32-true", "bf16-mixed")
BF16_GAIN = 1.1
"""How much quicker bf16 must be before it is taken."""

START_SECONDS = 25
"""Imports, opening the data and the first step."""
VALIDATION_SHARE = 0.1
"""Of the time; more validations than `MOST_VALIDATIONS` show nothing new."""
MOST_VALIDATIONS = 10
LARGE_IMAGE = 1_000_000
"""Pixels of a validation image from which they are evaluated one at a time: logits of full size take memory."""
FORWARD_COST = 0.4
"""What evaluating a pixel costs beside training on one: no backward pass, but the whole image at its own size."""
SMALLEST_CROP = 129
FEWEST_IMAGES, ENOUGH_IMAGES = 2400, 20_000
"""Training windows below which no run converges, and above which the crop need not shrink for more."""
FEWEST_STEPS = 100
"""Fewer are planned where there is no time for more, with a word."""
MOST_PASSES = 400
"""Over the training images; further ones teach nothing."""

PLANNED = (
    "data.crop_size", "data.batch_size", "data.scale_range", "data.colour_jitter", "trainer.max_steps",
    "trainer.max_epochs", "trainer.max_time", "trainer.val_check_interval", "trainer.check_val_every_n_epoch",
    "trainer.precision", "trainer.log_every_n_steps",
)  # fmt: skip
"""What a plan decides, beside the optimiser, even where a file says otherwise: files do not know the time there is."""

RARE_CLASS_CROPS = 0.5
"""Share of the windows that are drawn around a rare class, where there is one."""

WITH_RATES = ("DeepLabV3", "DeepLabV3Plus")
RATES_OF_PAPERS = (6, 12, 18)

Start = Literal["nothing", "backbone", "network"]
"""What the weights come from: nothing, a backbone trained on ImageNet, or a whole network trained to segment."""


class Recipe(NamedTuple):
    """What depends on where the weights come from."""

    lr: float
    passes: int
    why: str


RECIPES: dict[Start, Recipe] = {
    "nothing": Recipe(1e-3, 20, "from scratch"),
    "backbone": Recipe(1e-3, 20, "from ImageNet weights"),
    "network": Recipe(5e-4, 20, "from weights that segment already"),
}


class Choice(NamedTuple):
    """A setting."""

    value: Any
    why: str


@dataclass
class Plan:
    """A configuration on its way.

    Attributes:
        said: What the user or the data's files said, by option (`model.backbone`); it is kept.
        choices: All settings, by option.
        rejected: What was considered and not taken.
    """

    said: Mapping[str, Choice]
    choices: dict[str, Choice] = field(default_factory=dict)
    rejected: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with what was said."""
        self.choices |= self.said

    def choose(self, option: str, value: Any, why: str) -> None:
        """Settle an option, unless the user did."""
        if option not in self.said:
            self.choices[option] = Choice(value, why)

    def value(self, option: str, otherwise: Any = None) -> Any:
        """Return what an option is."""
        return self.choices[option].value if option in self.choices else otherwise

    def as_yaml(self, head: str) -> str:
        """Return the configuration, with `head` as its comment and each line's reason behind it."""
        parts = ["".join(f"# {line}".rstrip() + "\n" for line in head.splitlines())]
        for name in SECTIONS:
            own = {o.partition(".")[2]: c for o, c in self.choices.items() if o.partition(".")[0] == name}
            ordered = {key: own[key] for key in sorted(own, key=lambda key: key != "name")}
            if ordered:
                values = {key: choice.value for key, choice in ordered.items()}
                parts.append(section(name, values, {key: choice.why for key, choice in ordered.items() if choice.why}))
        return "\n".join(parts)

    def explained(self) -> str:
        """Return every setting with its reason, and what was rejected, for people."""
        lines = [f"{option} {value_of(choice.value)}: {choice.why}" for option, choice in self.choices.items()]
        return "\n".join([*lines, *(f"not taken: {what}" for what in self.rejected)])

    @property
    def start(self) -> Start:
        """Where the weights come from."""
        if self.value("model.weights"):
            return "network"
        return "backbone" if self.value("model.pretrained") else "nothing"


def said(files: Mapping[str, Any], words: Mapping[str, Any]) -> tuple[dict[str, Choice], list[str]]:
    """Sort what the user said into what is kept and what is planned.

    Args:
        files: What his files say, by option.
        words: What he said on the command line, by option: all of it is kept.

    Returns:
        What is kept, and a line on what is planned in place of what files say.
    """
    planned = [name for name in files if name in PLANNED or name.startswith("optimizer.")]
    kept = {name: Choice(value, "as your files say") for name, value in files.items() if name not in planned}
    kept |= {name: Choice(value, "as you said") for name, value in words.items()}
    lost = [f"{name} {value_of(files[name])}" for name in planned if name not in words]
    line = f"from your files: {', '.join(lost)}. What is said on the command line is kept"
    return kept, [line] if lost else []


def rates_within(crop: int) -> tuple[int, ...]:
    """Return ASPP's rates, 1 : 2 : 3 as in the papers, whose taps reach half of a crop's map at stride 16 at most.

    Taps that lie beyond the map of a crop are never trained; whole images, which are larger, would see them.
    """
    half = (crop - 1) // 16 // 2
    unit = min(RATES_OF_PAPERS[0], max(1, half // 3))
    return unit, 2 * unit, 3 * unit


def choose_network(plan: Plan, at_hand: str | None) -> None:
    """Choose generation, backbone and output stride.

    Args:
        plan: What is said so far.
        at_hand: Backbone whose ImageNet weights need not be fetched; None if there is none.
    """
    if plan.start != "network":
        plan.choose("model.name", "DeepLabV3Plus", "its decoder keeps outlines, and costs little")
    if plan.start == "network" or plan.value("model.name") not in WITH_RATES:
        return  # its options are those of the weights, or others
    if plan.start == "nothing" and at_hand and not {"model.pretrained", "model.backbone"} & plan.said.keys():
        plan.choose("model.backbone", at_hand, "its ImageNet weights lie in the cache of this machine")
        plan.choose("model.pretrained", True, "ImageNet weights are worth more than any other choice")
    if plan.start == "nothing" and "model.pretrained" not in plan.said:
        plan.rejected.append(
            "ImageNet weights: none lie on this machine. They are worth the most: --model.pretrained true fetches "
            "them (network), --model.pretrained FILE takes a file; name a --model.backbone with either."
        )
    if plan.start == "nothing":
        plan.choose("model.backbone", "mobilenetv2_100", "2.2 M weights: many passes in the time there is")
    plan.choose("model.output_stride", 16, "8 makes a step twice as long")


def choose_learning(plan: Plan, facts: Facts) -> None:
    """Choose optimiser, rate, batch, augmentation and loss."""
    recipe = RECIPES[plan.start]
    batch = min(BATCH, facts.train_images)
    plan.choose("data.batch_size", batch, "batch norms want 8 or more" if batch == BATCH else "all images there are")
    if "optimizer.lr" in plan.said:
        plan.choose("optimizer.name", "sgd", "the rate that was said is SGD's, where no optimiser was named")
    else:
        plan.choose("optimizer.name", "adamw", "in hundreds of steps it gets further than SGD")
    if plan.value("optimizer.name") == "adamw":
        plan.choose("optimizer.lr", recipe.lr, recipe.why)
        plan.choose("optimizer.weight_decay", 0.01, "of AdamW, on kernels alone")
        if plan.start == "network":
            plan.choose("optimizer.head_lr_multiplier", 10.0, "of a classifier that starts anew")
    plan.choose("data.scale_range", [0.5, 2.0], "the papers'")
    plan.choose("data.flip", 0.5, "0 where left and right mean something")
    if facts.colours:
        dark = facts.shift >= SHIFT
        why = f"train and val differ in brightness by {facts.shift:.2f}" if dark else "light differs between images"
        plan.choose("data.colour_jitter", 0.5 if dark else 0.3, why)
    if facts.val_pixels > LARGE_IMAGE:
        plan.choose(
            "data.eval_batch_size", 1, f"images of {facts.val_pixels / 1e6:.1f} million pixels; scores stay the same"
        )
    if not {option for option in plan.said if option.startswith("loss.")} - {"loss.cross_entropy"}:
        plan.choose("loss.lovasz", LOVASZ, LOVASZ_WHY)
    if facts.imbalance > IMBALANCE:
        rare = f"the rarest class has {facts.imbalance:.0f} times fewer pixels than the most frequent"
        plan.choose("data.rare_class_crops", RARE_CLASS_CROPS, rare)
        plan.rejected.append(
            f"class weights ({rare}): --loss.cross_entropy.class_weights median_frequency, not measured"
        )


def choose_precision(plan: Plan, costs: Mapping[str, Cost | str]) -> Cost:
    """Choose the quicker precision.

    Args:
        plan: What is said so far.
        costs: What a step costs in each, or why it cannot be taken.

    Returns:
        The cost of the one chosen.

    Raises:
        ConfigError: None can be taken.
    """
    timed = {name: cost for name, cost in costs.items() if isinstance(cost, Cost)}
    failed = {name: cost for name, cost in costs.items() if isinstance(cost, str)}
    plan.rejected += [f"precision {name}: {why}" for name, why in failed.items()]
    if not timed:
        raise ConfigError(f"No training step could be timed: {'; '.join(failed.values())}.")
    safest = next(iter(timed))
    fastest = min(timed, key=lambda name: timed[name].seconds_per_image)
    seconds = {name: f"{cost.seconds_per_image:.3g} s" for name, cost in timed.items()}
    gained = timed[safest].seconds_per_image / timed[fastest].seconds_per_image
    taken = fastest if gained >= BF16_GAIN else safest
    listed = ", ".join(f"{name} {each}" for name, each in seconds.items())
    plan.choose("trainer.precision", taken, f"an image of {timed[taken].side} pixels a side takes {listed}")
    return timed[taken]


def choose_length(plan: Plan, facts: Facts, cost: Cost) -> None:
    """Choose crop, batch, steps and validations, so that the run ends within the time.

    Args:
        plan: What is said so far.
        facts: Of the data.
        cost: Of a training step.

    Raises:
        ConfigError: The time does not suffice for one step, or the memory for one image.
    """
    recipe = RECIPES[plan.start]
    batch = plan.value("data.batch_size")
    per_pixel = cost.seconds_per_image / cost.side**2
    loading = 0.0 if facts.images_per_second is None else 1 / facts.images_per_second
    validation = facts.val_images * facts.val_pixels * per_pixel * FORWARD_COST
    budget = facts.minutes * 60 - START_SECONDS
    validations = int(max(1, min(MOST_VALIDATIONS, VALIDATION_SHARE * budget / max(validation, 1e-9))))
    training = budget - validations * validation
    needed = max(FEWEST_IMAGES, min(recipe.passes * facts.train_images, ENOUGH_IMAGES))

    def seconds(crop: int) -> float:
        computing = cost.at(crop).seconds_per_image
        # On a CPU the loader's processes take the same cores; beside a GPU the slower of the two counts.
        return computing + loading if cost.device == "cpu" else max(computing, loading)

    def fits(crop: int, images: int) -> bool:
        largest = cost.at(crop).largest_batch()
        return largest is None or largest >= images

    crops = list(range(min(SMALLEST_CROP, facts.largest_crop), facts.largest_crop + 1, 16))
    if plan.value("model.output_stride") == 32:
        crops = [crop for crop in crops if crop % 32 == 1]
    roomy = [crop for crop in crops if fits(crop, batch)]
    if not roomy:
        batch = next((images for images in range(batch, 0, -1) if fits(crops[0], images)), 0)
        roomy = crops[:1]
        plan.choose("data.batch_size", batch, "more do not fit into the memory")
        if batch == 0:
            raise ConfigError(
                f"One image of {crops[0]} pixels a side needs {cost.at(crops[0]).need(1) / GIB:.1f} GiB, more than "
                f"there is: take a smaller --model.backbone."
            )
    quick = [crop for crop in roomy if training / seconds(crop) >= needed]
    crop = max(quick, default=roomy[0])
    if crop == facts.largest_crop:
        why = "the largest 16 k + 1 that fits into half of the images"
    elif crop == max(roomy):
        why = f"the largest of which {batch} fit into the memory"
    else:
        why = f"larger ones would leave fewer than {needed} windows in the time, for {facts.train_images} images"
    plan.choose("data.crop_size", crop, why)
    crop, batch = plan.value("data.crop_size"), plan.value("data.batch_size")
    if plan.start != "network" and plan.value("model.name") in WITH_RATES:
        rates, side = rates_within(crop), (crop - 1) // 16 + 1
        why = f"the papers', which fit the crop's map of {side} at stride 16"
        if rates != RATES_OF_PAPERS:
            why = f"the crop's map has {side} a side at stride 16: taps further out would never be trained"
        plan.choose("model.atrous_rates", list(rates), why)
    per_step = seconds(crop) * batch
    steps = int(min(training / per_step, MOST_PASSES * facts.train_images / batch))
    enough = math.ceil((START_SECONDS + validation + FEWEST_STEPS * per_step) / 60)
    if steps < 1:
        raise ConfigError(
            f"{facts.minutes:g} minutes do not suffice: a step of {batch} images takes {per_step:.0f} s, a validation "
            f"{validation:.0f} s. Give at least {enough} minutes."
        )
    validations = min(validations, steps)
    interval = steps // validations
    steps = interval * validations
    took = (steps * per_step + validations * validation + START_SECONDS) / 60
    passes = steps * batch / facts.train_images
    why = f"{took:.0f} minutes at {per_step:.2g} s a step: {passes:.0f} passes over the images"
    if steps < FEWEST_STEPS:
        why += f"; too few to learn much: give {enough} minutes or more"
    plan.choose("trainer.max_steps", steps, why)
    plan.choose(
        "trainer.val_check_interval",
        interval,
        f"{validations} validations, of about {validation:.0f} s each; the best checkpoint is kept",
    )
    plan.choose("trainer.check_val_every_n_epoch", None, "validation by steps, not by epochs")
    plan.choose("trainer.log_every_n_steps", max(1, min(50, steps // 20)), "")
