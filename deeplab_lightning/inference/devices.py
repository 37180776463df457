"""Which device a network runs on."""

from __future__ import annotations

import torch

from ..errors import ConfigError


def chosen_device(name: str | None) -> torch.device:
    """Return the device of a name such as `cpu` or `cuda:1`; without one the GPU, if there is one.

    Raises:
        ConfigError: There is no such device here.
    """
    if not name:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        if torch.backends.mps.is_available():
            there.append("mps")
        raise ConfigError(
            f"There is no device {name!r} here ({str(error).splitlines()[0].rstrip('.')}). There are: "
            f"{', '.join(there)}."
        ) from error
    return device
