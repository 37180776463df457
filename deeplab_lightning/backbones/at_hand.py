"""Which ImageNet weights lie on this machine already. Nothing is fetched."""

from __future__ import annotations

from collections.abc import Iterable

from huggingface_hub import try_to_load_from_cache
from timm.models import get_pretrained_cfg

FILES = ("model.safetensors", "pytorch_model.bin")


def first_at_hand(names: Iterable[str]) -> str | None:
    """Return the first of timm's networks whose weights the Hugging Face hub's cache holds; None if it holds none."""
    return next((name for name in names if _is_cached(name)), None)


def _is_cached(name: str) -> bool:
    config = get_pretrained_cfg(name)
    if config is None or config.hf_hub_id is None:
        return False
    return any(isinstance(try_to_load_from_cache(config.hf_hub_id, file), str) for file in FILES)
