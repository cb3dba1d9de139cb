"""Running the same batches again and again with one layer edited; what lies below it runs once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neucept.activations.batches import Batch
from neucept.activations.replace import Edit, replaced
from neucept.activations.running import forward, plain_model
from neucept.errors import InputError

MOST_BYTES = 512 * 2**20
"""How much memory the remembered outputs may take; batches beyond it run whole each time."""

TRIED = 2
"""Samples of the first batch on which is tried what the network above the layer reads."""

CLOSE = 1e-5
"""A recalled pass must repeat the whole one to this, relative to the largest value of a column."""

Forward = Callable[..., Any]


class Rerun:
    """A network, a layer and some batches, ready to be run with the layer's output edited.

    The modules that end before the layer does give the same at every run. Their outputs are
    remembered where the rest of the network reads them, within a bound on memory, and handed back
    instead of being computed. That is done only for batches on which it was seen to repeat a whole
    pass, under an edit and after another batch had passed; and a pass that turns out to need more
    than was remembered runs whole.

    Make and use it inside `evaluation_mode`, on a network that is not changed meanwhile.

    Attributes:
        outputs: What the network returns for each batch with nothing edited, on the CPU.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: str,
        batches: Sequence[Batch],
        device: torch.device,
        *,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Run every batch a few times, and remember what can be.

        Args:
            model: The network.
            layer: Name of a layer that runs once per forward pass.
            batches: The samples.
            device: From `evaluation_mode`; what is remembered stays there.
            most_bytes: Memory for what is remembered.

        Raises:
            ModelError: the network fails, or the layer cannot be edited.
        """
        self._model, self._layer, self._device = plain_model(model), layer, device
        self._batches = batches
        self._recalled: dict[int, dict[nn.Module, Tensor]] = {}
        self.outputs: list[Float[Tensor, "samples classes"]] = [
            self._whole(batch, _as_it_is).float().cpu() for batch in batches
        ]
        at = dict(self._model.named_modules(remove_duplicate=False)).get(layer)
        if at is None or not batches:
            return
        below = self._below(at, batches[0].head(TRIED))
        room = most_bytes
        for number, batch in enumerate(batches if below else ()):
            kept = self._recorded(batch, at, below, room)
            if kept:
                self._recalled[number] = kept
                room -= sum(output.nbytes for output in kept.values() if not _stands_in(output))
        # Only now, so that what a pass leaves in the network is another batch's.
        for number in list(self._recalled):
            if not self._repeats(batches[number], self._recalled[number]):
                del self._recalled[number]

    def __call__(self, number: int, edit: Edit) -> Float[Tensor, "samples classes"]:
        """The network's outputs for a batch, on the CPU, when the layer hands on `edit(output)`.

        Args:
            number: Which batch.
            edit: As for `replaced`.

        Raises:
            ModelError: the network fails.
        """
        batch, kept = self._batches[number], self._recalled.get(number)
        outputs = self._attempt(batch, edit, kept) if kept else None
        if outputs is None:
            outputs = self._whole(batch, edit)
        return outputs.float().cpu()

    def _whole(self, batch: Batch, edit: Edit) -> Tensor:
        with replaced(self._model, self._layer, edit):
            return forward(self._model, batch, self._device)

    def _attempt(self, batch: Batch, edit: Edit, kept: Mapping[nn.Module, Tensor]) -> Tensor | None:
        """A pass in which `kept` is handed back; None where that is not enough."""
        handed: set[nn.Module] = set()

        def around(module: nn.Module, own: Forward) -> Forward:
            output = kept[module]

            @wraps(own)
            def recall(*_args: Any, **_keywords: Any) -> Tensor:
                if module in handed:
                    raise _NotEnoughError("a module runs a second time")
                handed.add(module)
                # A copy, for whatever comes next may write into it.
                return output if _stands_in(output) else output.clone()

            return recall

        try:
            with _wrapped(kept, around):
                return self._whole(batch, edit)
        except InputError:
            return None

    def _repeats(self, batch: Batch, kept: Mapping[nn.Module, Tensor]) -> bool:
        """Whether recalling gives what a whole pass gives, under an edit that changes much."""
        self._whole(batch.pick(_backwards(len(batch))), _as_it_is)
        again = self._attempt(batch, _shaken, kept)
        return again is not None and _same(again, self._whole(batch, _shaken))

    def _below(self, at: nn.Module, batch: Batch) -> dict[nn.Module, bool]:
        """The outermost modules that end before the layer does; whether the rest reads each."""
        finished = self._finished(at, batch)
        everything = dict.fromkeys(finished, True)
        kept = self._recorded(batch, at, everything, MOST_BYTES) if finished else {}
        if not kept or not self._repeats(batch, kept):
            return {}
        plain = self._whole(batch, _as_it_is)
        read = {}
        for module in finished:
            without = kept | {module: _StandIn.one()}
            again = None if module is at else self._attempt(batch, _as_it_is, without)
            read[module] = again is None or not _same(again, plain)
        return read

    def _finished(self, at: nn.Module, batch: Batch) -> list[nn.Module]:
        """The outermost modules that end no later than `at`, run once and give a tensor anew."""
        calls: Counter[nn.Module] = Counter()
        running: list[nn.Module] = []
        inside: dict[nn.Module, tuple[nn.Module, ...]] = {}
        places: dict[nn.Module, int] = {}
        taken: dict[nn.Module, set[int]] = {}

        def around(module: nn.Module, own: Forward) -> Forward:
            @wraps(own)
            def traced(*args: Any, **keywords: Any) -> Any:
                calls[module] += 1
                inside[module] = tuple(running)
                taken[module] = {_place(value) for value in (*args, *keywords.values())}
                running.append(module)
                try:
                    output = own(*args, **keywords)
                finally:
                    running.pop()
                if at not in places and _plain(output):
                    places[module] = _place(output)
                return output

            return traced

        try:
            with _wrapped(_patchable(self._model), around):
                self._whole(batch, _as_it_is)
        except InputError:
            return []
        if at not in places:
            return []
        # One that hands its input on, or writes into it, must run: others may hold the same tensor.
        fresh = {
            module
            for module, place in places.items()
            if calls[module] == 1 and (module is at or place not in taken[module])
        }
        return [m for m in places if m in fresh and fresh.isdisjoint(inside[m])]

    def _recorded(
        self, batch: Batch, at: nn.Module, below: Mapping[nn.Module, bool], room: int
    ) -> dict[nn.Module, Tensor]:
        """What each module gives, copied where it is read; nothing if that is not possible."""
        kept: dict[nn.Module, Tensor] = {}
        fits = True
        left = room

        def around(module: nn.Module, own: Forward) -> Forward:
            @wraps(own)
            def record(*args: Any, **keywords: Any) -> Any:
                nonlocal fits, left
                output = own(*args, **keywords)
                known = _plain(output) and module not in kept and at not in kept
                if known and below[module]:
                    left -= output.nbytes
                fits = fits and known and left >= 0
                if fits:
                    kept[module] = output.clone() if below[module] else _StandIn.one()
                return output

            return record

        try:
            with _wrapped(below, around):
                self._whole(batch, _as_it_is)
        except InputError:
            return {}
        return kept if fits and kept.keys() == below.keys() else {}


class _NotEnoughError(Exception):
    """The pass needs more than was remembered; the network's runner makes it an `InputError`."""


class _StandIn(Tensor):
    """What a module hands back whose output nobody reads. Whoever does is told so."""

    @classmethod
    def one(cls) -> Tensor:
        return torch.empty(0).as_subclass(cls)

    @classmethod
    def __torch_function__(cls, *_args: Any, **_keywords: Any) -> Any:
        raise _NotEnoughError("an output is read that was not remembered")


def _stands_in(output: Tensor) -> bool:
    return type(output) is _StandIn


def _as_it_is(output: Tensor) -> Tensor:
    return output


def _shaken(output: Tensor) -> Tensor:
    """The output with its signs changed here and there, and shifted."""
    if not output.is_floating_point():
        return output
    signs = torch.arange(output.numel(), device=output.device).reshape(output.shape) % 3 - 1
    return output * signs.to(output) + output.abs().mean()


def _backwards(samples: int) -> Any:
    return torch.arange(samples - 1, -1, -1).numpy()


def _plain(output: object) -> bool:
    return isinstance(output, Tensor) and output.layout is torch.strided


def _place(value: object) -> int:
    """Where a tensor's numbers lie; 0 for anything else."""
    return value.untyped_storage().data_ptr() if _plain(value) else 0  # type: ignore[attr-defined]


def _same(again: Tensor, outputs: Tensor) -> bool:
    if again.shape != outputs.shape:
        return False
    finite = torch.where(outputs.isfinite(), outputs, torch.zeros_like(outputs))
    apart = CLOSE * finite.abs().amax(0, keepdim=True)
    near = torch.where(again == outputs, torch.zeros_like(outputs), (again - outputs).abs())
    return bool((near <= apart).all())


def _patchable(model: nn.Module) -> list[nn.Module]:
    """Every module inside the model whose forward may be replaced: none that is compiled."""
    compiled: set[nn.Module] = set()
    for module in model.modules():
        if isinstance(getattr(module, "_orig_mod", None), nn.Module):
            compiled.update(module.modules())
    return [
        module
        for module in model.modules()
        if module is not model
        and module not in compiled
        and not isinstance(module, torch.jit.ScriptModule)
    ]


@contextmanager
def _wrapped(
    modules: Iterable[nn.Module], around: Callable[[nn.Module, Forward], Forward]
) -> Iterator[None]:
    """While the context lasts, modules run `around(module, its forward)`."""
    before: list[tuple[nn.Module, Any]] = []
    try:
        for module in modules:
            before.append((module, vars(module).get("forward")))
            vars(module)["forward"] = around(module, module.forward)
        yield
    finally:
        for module, own in before:
            if own is None:
                vars(module).pop("forward", None)
            else:
                vars(module)["forward"] = own
