"""One layer of one network on some samples, ready to have neurons replaced again and again."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neucept.activations import Activations, Batches, Rerun
from neucept.errors import DataError

BATCH = 256


class LayerRun:
    """What a network returns for some captured samples when a layer hands on other values.

    Make and use it inside `evaluation_mode`.

    Attributes:
        values: The captured activations of the layer, one row per sample.
        uncut: The captured outputs, with nothing replaced.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        acts: Activations,
        layer: str,
        rows: Int[np.ndarray, " samples"],
        device: torch.device,
    ) -> None:
        """Run the samples once, and see that they give what was captured.

        Args:
            model: The network that `acts` was captured from.
            data: The samples that `acts` was captured from.
            acts: Captured activations.
            layer: Whose output is replaced.
            rows: Positions of the samples, ascending.
            device: From `evaluation_mode`.

        Raises:
            ModelError: the network fails, or the layer cannot be edited.
            DataError: `data` or `model` is not what `acts` came from.
        """
        taken = list(Batches(data, BATCH).take(rows))
        starts = np.cumsum([0, *(len(batch) for batch in taken)])
        self._spans = [slice(*ends) for ends in pairwise(starts.tolist())]
        self.values = acts.matrix(layer, rows=rows)
        self.uncut = acts.outputs[rows]
        self._network = Rerun(model, layer, taken, device)
        check_replay(torch.cat(self._network.outputs).numpy(), self.uncut, layer)

    def outputs(
        self, edit: Callable[[Tensor, slice], Tensor]
    ) -> Float[np.ndarray, "samples columns"]:
        """The network's outputs with the layer's output edited.

        Args:
            edit: Given the layer's output for some of the samples, and which these are, returns
                a tensor of the same shape; the one it is given stays as it is.

        Raises:
            ModelError: the network fails.
        """

        def at(number: int, span: slice) -> Tensor:
            return self._network(number, lambda output: edit(output, span))

        return torch.cat([at(number, span) for number, span in enumerate(self._spans)]).numpy()


def check_replay(
    again: Float[np.ndarray, "samples classes"],
    recorded: Float[np.ndarray, "samples classes"],
    layer: str,
) -> None:
    """Refuse outputs that are not those which were captured.

    Args:
        again: What the network returns now.
        recorded: What was captured.
        layer: With which layer.

    Raises:
        DataError: they differ by more than rounding.
    """
    apart = float(np.abs(again - recorded).max())
    if apart > 1e-2 * (1.0 + float(np.abs(recorded).max())):
        raise DataError(
            f"The network's outputs differ by up to {apart:.3g} from those captured with layer "
            f"'{layer}'. Pass the model and the data that the activations were captured from."
        )
