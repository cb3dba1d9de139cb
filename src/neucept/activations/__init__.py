"""From a network to matrices: which layers it has, what their neurons give for every sample."""

from neucept.activations.batches import Batch, Batches
from neucept.activations.capture import capture
from neucept.activations.neurons import KINDS, POOLS, Kind, Layout, Pool, neuron_values
from neucept.activations.outputs import (
    Target,
    check_target,
    class_score,
    meaning_of,
    predicted_as,
    predictions_of,
)
from neucept.activations.replace import MapBank, replaced, set_neurons
from neucept.activations.rerun import Rerun
from neucept.activations.running import (
    check_device,
    evaluation_mode,
    forward,
    plain_model,
    random_state_kept,
    resolve_device,
)
from neucept.activations.store import Activations
from neucept.activations.tracing import list_layers, weighted_layers

__all__ = [
    "KINDS",
    "POOLS",
    "Activations",
    "Batch",
    "Batches",
    "Kind",
    "Layout",
    "MapBank",
    "Pool",
    "Rerun",
    "Target",
    "capture",
    "check_device",
    "check_target",
    "class_score",
    "evaluation_mode",
    "forward",
    "list_layers",
    "meaning_of",
    "neuron_values",
    "plain_model",
    "predicted_as",
    "predictions_of",
    "random_state_kept",
    "replaced",
    "resolve_device",
    "set_neurons",
    "weighted_layers",
]
