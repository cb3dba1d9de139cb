"""The causal check of a planted shortcut: does a cut take what the mark alone brought about?"""

from __future__ import annotations

import time
from dataclasses import replace

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
    """Cut the branch of the tree that the marked images are, and see what it takes.

    A mark may make several mechanisms; what one of them loses, another would give back. It is tried
    on marked images of other classes that the mark had pulled over to the class, and on images of
    the class without a mark.
    """
    begun = time.perf_counter()
    one = next(shortcut for shortcut in SHORTCUTS if shortcut.name == case.name)
    mech = nc.discover_mechanisms(acts, crit, layers=[layer])
    truth = subject.truth[mech.samples]
    branch = marked_branch(mech, truth)
    two = replace(mech, labels=branch.astype(np.int64), stability=np.ones(2))
    found = nc.selectivity(subject.model, subject.images, acts, crit, two, layer=layer)
    cut, mark = found.cuts[1], 1
    result: dict[str, float | int] = {
        "mechanisms": mech.n_mechanisms,
        "marked": float(truth[branch].mean()),
        "neurons": len(cut.neurons),
        "reach": cut.reach,
    }
    if len(cut.neurons):
        pulled, plain = tried(one)
        for name, some in (("pulled over", pulled), ("plain", plain)):
            if len(some):
                result[name] = float(found.apply(subject.model, some, mark).loss.mean())
    return {**result, "seconds": time.perf_counter() - begun}


def branches(mech: nc.Mechanisms) -> list[np.ndarray]:
    """Every branch of the tree, as which samples it holds; none where the tree is one leaf."""
    cuts = [mech.cut(n) for n in range(2, mech.n_leaves + 1)]
    return [labels == one for labels in cuts for one in np.unique(labels)]


def marked_branch(mech: nc.Mechanisms, truth: np.ndarray) -> np.ndarray:
    """Which samples the branch holds that parts marked and unmarked images best."""
    best = max(
        branches(mech),
        key=lambda branch: nc.agreement(branch.astype(int), truth).ami,
        default=np.ones(len(truth), dtype=bool),
    )
    if best.all():
        return best
    return best if truth[best].mean() >= truth[~best].mean() else ~best


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
