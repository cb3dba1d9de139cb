"""Does a circuit carry more of the prediction than as many neurons chosen by attribution?

All neurons of the studied layers but those of the circuit are held at their mean over images, in
all layers at once, and the class's probability on the mechanism's own images is compared with what
it was. Beside it, in each layer as many neurons as the circuit has there:

* NeurFlow (Cao et al. 2025), its choice of core neurons written from the paper: those with most
  integrated gradients towards the class and, further down, towards the core neurons above, each on
  the images that excite it most. It groups them by how they are excited together; which neurons
  there are does not depend on that.
* the critical neurons of the class with most evidence, whatever the mechanism;
* neurons at random.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack

import numpy as np
import torch
from mechanism_baselines import log_odds, pooled
from mechanism_cases import Subject
from torch import Tensor, nn

import neucept as nc
from neucept.evaluation.ablation import critical_order
from neucept.runtime import generator

IMAGES = 300
"""Of a mechanism, for choosing; as many others for keeping, where there are."""

EXCITING = 50
"""Images by which a neuron's own core neurons are found."""

REFERENCES = 1000
STEPS = 16
RANDOM = 10

Kept = Mapping[str, np.ndarray]
"""Per layer, the neurons that keep their values."""


def circuits(
    subject: Subject, acts: nc.Activations, crit: nc.Critical, workers: int | None
) -> dict[str, float | int | str]:
    """Mean over the mechanisms of a class: shares of the class's probability that are kept."""
    begun = time.perf_counter()
    mech = nc.discover_mechanisms(acts, crit, n_jobs=workers)
    found: dict[str, list[float]] = {}
    sizes = []
    network = Keeper(subject.model, subject.images, acts.layers)
    for number in range(mech.n_mechanisms if mech.n_mechanisms > 1 else 0):
        nodes = nc.circuit(acts, crit, mech, mechanism=number).nodes
        own = {name: rows["neuron"].to_numpy() for name, rows in nodes.groupby("layer")}
        own = {name: own.get(name, np.zeros(0, dtype=int)) for name in acts.layers}
        rows = generator(0, "circuit images", number).permutation(
            mech.samples[mech.labels == number]
        )
        choosing, keeping = rows[:IMAGES], rows[IMAGES : 2 * IMAGES]
        if not len(keeping):
            continue
        size = {name: len(neurons) for name, neurons in own.items()}
        ways = ways_to_choose(subject, acts, crit, own, size, choosing)
        seen = subject.images[keeping]
        kept = {name: network.share(k, seen, crit.target) for name, k in ways.items()}
        chance = [network.share(at_random(acts, size, n), seen, crit.target) for n in range(RANDOM)]
        for name, share in {**kept, "random": float(np.mean(chance))}.items():
            found.setdefault(name, []).append(share)
        sizes.append(sum(size.values()))
    return {
        "layer": ", ".join(mech.layers),
        "mechanisms": mech.n_mechanisms,
        "neurons": float(np.mean(sizes)) if sizes else 0.0,
        **{name: float(np.mean(shares)) for name, shares in found.items()},
        "seconds": time.perf_counter() - begun,
    }


def ways_to_choose(
    subject: Subject,
    acts: nc.Activations,
    crit: nc.Critical,
    own: Kept,
    size: Mapping[str, int],
    rows: np.ndarray,
) -> dict[str, Kept]:
    ranked = {name: critical_order(crit, name)[:n] for name, n in size.items()}
    return {
        "circuit": own,
        "critical": ranked,
        "NeurFlow": neurflow(subject.model, subject.images[rows], acts.layers, crit.target, size),
    }


def at_random(acts: nc.Activations, size: Mapping[str, int], number: int) -> Kept:
    rng = generator(0, "circuit at random", number)
    return {name: rng.permutation(acts.n_neurons(name))[:n] for name, n in size.items()}


class Keeper:
    """A network of which only some neurons keep what they say; the others say their mean."""

    def __init__(self, model: nn.Module, images: Tensor, layers: tuple[str, ...]) -> None:
        rows = generator(0, "circuit references").permutation(len(images))[:REFERENCES]
        self.model = model
        with torch.no_grad():
            seen = outputs_of(model, images[torch.from_numpy(rows)], layers)
        self.means = {name: values.mean(0, keepdim=True) for name, values in seen.items()}

    def share(self, kept: Kept, images: Tensor, target: int) -> float:
        """The class's probability with these neurons alone, as a share of what it was."""
        with ExitStack() as hooks, torch.no_grad():
            whole = self._probability(images, target)
            for name, neurons in kept.items():
                handle = self.model.get_submodule(name).register_forward_hook(
                    self._held(name, neurons)
                )
                hooks.callback(handle.remove)
            return self._probability(images, target) / whole

    def _held(self, name: str, neurons: np.ndarray) -> Callable[..., Tensor]:
        own = torch.from_numpy(neurons)

        def held(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
            mean = self.means[name].expand_as(output).clone()
            mean[:, own] = output[:, own]
            return mean

        return held

    def _probability(self, images: Tensor, target: int) -> float:
        return float(log_odds(self.model(images), target).sigmoid().mean())


def outputs_of(model: nn.Module, x: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
    """What some layers say, the class scores under ""."""
    seen: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for name in layers:
            handle = model.get_submodule(name).register_forward_hook(
                lambda module, inputs, output, name=name: seen.__setitem__(name, output)
            )
            hooks.callback(handle.remove)
        seen[""] = model(x)
    return seen


def excitement(values: Tensor, neuron: int) -> Tensor:
    """What a neuron says, its mean over the places of a map."""
    return values[:, neuron].reshape(len(values), -1).mean(1)


def neurflow(
    model: nn.Module, x: Tensor, layers: tuple[str, ...], target: int, size: Mapping[str, int]
) -> Kept:
    """Core neurons of each layer, from the last to the first."""
    with torch.no_grad():
        excited = {name: values for name, values in outputs_of(model, x, layers).items() if name}
    kept: dict[str, np.ndarray] = {}
    above: str | None = None
    for name in reversed(layers):
        if above is None:
            total = integrated(model, x, name, lambda seen: log_odds(seen[""], target), layers)
        else:
            total = np.zeros(excited[name].shape[1])
            for neuron in kept[above]:
                value = excitement(excited[above], neuron)
                most = value.argsort(descending=True)[:EXCITING]
                total += integrated(
                    model,
                    x[most],
                    name,
                    lambda seen, at=above, j=neuron: excitement(seen[at], j),
                    layers,
                )
        kept[name] = np.argsort(-total, kind="stable")[: size[name]]
        above = name
    return kept


def integrated(
    model: nn.Module,
    x: Tensor,
    layer: str,
    towards: Callable[[dict[str, Tensor]], Tensor],
    layers: tuple[str, ...],
) -> np.ndarray:
    """Mean absolute integrated gradients of a layer's neurons, from all of them at zero."""
    own: list[Tensor] = []

    def scaled(share: float) -> Callable[..., Tensor]:
        def hook(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
            own.append((share * output).detach().requires_grad_())
            return own[-1]

        return hook

    with torch.no_grad():
        whole = outputs_of(model, x, (layer,))[layer]
    slope = torch.zeros_like(whole)
    for step in range(STEPS):
        handle = model.get_submodule(layer).register_forward_hook(scaled((step + 0.5) / STEPS))
        try:
            value = towards(outputs_of(model, x, layers)).sum()
        finally:
            handle.remove()
        slope += torch.autograd.grad(value, own.pop())[0] / STEPS
    return np.abs(pooled(slope * whole)).mean(0)
