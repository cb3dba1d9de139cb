"""Where heavy tensors are computed with: on a GPU where there is one."""

from __future__ import annotations

from threading import Lock

import torch

_loading = Lock()
_loaded: set[torch.device] = set()


def device() -> torch.device:
    """CUDA where PyTorch has it, else the processor; safe to be asked by several threads.

    PyTorch loads its linear algebra for CUDA when it is first used, and fails where two threads
    are first at once (pytorch/pytorch issue 90613). So it is loaded here, by one.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    place = torch.device("cuda")
    with _loading:
        if place not in _loaded:
            torch.linalg.inv(torch.eye(2, device=place))
            _loaded.add(place)
    return place
