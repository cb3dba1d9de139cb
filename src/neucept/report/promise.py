"""What was promised about the neurons, and how the mechanisms agree with known sub-classes."""

from __future__ import annotations

from dataclasses import dataclass

from neucept.report.reading import Subject, optional
from neucept.report.summary import audited, promised
from neucept.report.words import listed, percent, plain, score

_SAMPLERS = {
    "gaussian": "a multivariate Gaussian",
    "gaussian_unscaled": "a multivariate Gaussian",
    "mixture": "a mixture of Gaussians",
}


@dataclass(frozen=True)
class Promise:
    """The terms of the promise.

    Attributes:
        level: Share of wrong neurons accepted, as per cent; "" when nothing is promised.
        chain: Whether layers were asked about the critical neurons above them.
        split: Whether each layer had samples of its own.
        samplers: The models of the activations that were used, in words.
        audited: What the audit said, over all layers.
    """

    level: str
    chain: bool
    split: bool
    samplers: str
    audited: str


def promise(subject: Subject) -> Promise:
    """The terms that this study was run under."""
    settings = subject.info.get("settings", {})
    names = dict.fromkeys(str(entry["sampler"]["kind"]) for entry in subject.layers)
    return Promise(
        level=percent(float(settings["fdr"])) if promised(subject) else "",
        chain=settings.get("route", "chain") == "chain" and len(subject.layers) > 1,
        split=bool(settings.get("split", False)),
        samplers=listed([_SAMPLERS.get(name, plain(name)) for name in names]),
        audited=audited(subject),
    )


def agreement(subject: Subject) -> str:
    """How the mechanisms agree with labels that nothing learned from; "" where there are none."""
    known = subject.info["mechanisms"].get("agreement") or {}
    ami = optional(known.get("ami"))
    if ami is None:
        return ""
    text = (
        f"Compared with sub-classes known from elsewhere, which were used only for this score: "
        f"adjusted mutual information {score(ami)} (0 is chance, 1 is the same grouping)"
    )
    more = [
        f"{name} {score(optional(known[name]))}"
        for name in ("homogeneity", "completeness")
        if optional(known.get(name)) is not None
    ]
    return f"{text}, {listed(more)}." if more else f"{text}."
