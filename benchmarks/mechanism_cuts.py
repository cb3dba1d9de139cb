"""The causal check of a planted shortcut: does a cut take what the mark alone brought about?"""

from __future__ import annotations

import time

import numpy as np
import torch
from mechanism_cases import Case, Subject
from mechanism_images import images
from mechanism_networks import SHORTCUTS, Shortcut, scores, trained

import neucept as nc
from neucept.critical import Critical

MOST = 500
"""Images of either kind that the cut is tried on."""


def cut_of_mark(
    case: Case, subject: Subject, acts: nc.Activations, crit: Critical, layer: str
) -> dict[str, float | int]:
    """Cut the mechanism with the largest share of marked images, and see what it takes.

    It is tried on marked images of other classes that the mark had pulled over to the class, and
    on images of the class without a mark.
    """
    begun = time.perf_counter()
    one = next(shortcut for shortcut in SHORTCUTS if shortcut.name == case.name)
    mech = nc.discover_mechanisms(acts, crit, layers=[layer])
    if mech.n_mechanisms < 2:
        mech = nc.discover_mechanisms(acts, crit, layers=[layer], n_mechanisms=2)
    truth = subject.truth[mech.samples]
    shares = [truth[mech.labels == group].mean() for group in range(mech.n_mechanisms)]
    mark = int(np.argmax(shares))
    found = nc.selectivity(subject.model, subject.images, acts, crit, mech, layer=layer)
    cut = found.cuts[mark]
    result: dict[str, float | int] = {
        "mechanisms": mech.n_mechanisms,
        "marked": float(shares[mark]),
        "neurons": len(cut.neurons),
        "reach": cut.reach,
    }
    if len(cut.neurons):
        pulled, plain = tried(one)
        for name, some in (("pulled over", pulled), ("plain", plain)):
            if len(some):
                result[name] = float(found.apply(subject.model, some, mark).loss.mean())
    return {**result, "seconds": time.perf_counter() - begun}


def tried(one: Shortcut) -> tuple[torch.Tensor, torch.Tensor]:
    """Marked images of other classes that the mark pulled over; plain ones of the class."""
    own, model = images(one.data), trained(one.name)
    before = scores(model, own.test).argmax(1).numpy()
    after = scores(model, one.mark.on(own.test)).argmax(1).numpy()
    others = (own.test_labels != one.target) & (before != one.target) & (after == one.target)
    plain = (own.test_labels == one.target) & (before == one.target)
    return one.mark.on(own.test[np.flatnonzero(others)[:MOST]]), own.test[
        np.flatnonzero(plain)[:MOST]
    ]
