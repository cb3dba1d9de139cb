"""The words of the page, explained once for someone who has never met them."""

from __future__ import annotations

from collections.abc import Collection

GLOSSARY: tuple[tuple[str, str], ...] = (
    (
        "Ablation",
        "Taking neurons out of play and watching the prediction. If the critical neurons matter, "
        "cutting them hurts sooner than cutting neurons in random order.",
    ),
    (
        "Accuracy",
        "The share of samples for which the network is right. For a mechanism: the share of its "
        "samples that are labelled as the class they are predicted to be.",
    ),
    (
        "Class score",
        "How strongly the network favours the class: its log-odds against all other classes; in a "
        "contrast, against the one other class.",
    ),
    (
        "Confidence",
        "The probability that the network gives to its prediction, averaged over the samples.",
    ),
    (
        "Core",
        "The smallest set of critical neurons found to keep a stated share (90 %, unless set "
        "otherwise) of what the whole layer tells about its targets, measured on samples held out. "
        "It has no error rate of its own.",
    ),
    (
        "Critical neuron",
        "A neuron that tells something about its target that no other neuron of its layer tells. "
        "Together they are an estimate of the target's Markov blanket in the layer.",
    ),
    (
        "Dither",
        "Noise added on purpose to the target before selection. It leaves irrelevant neurons "
        "irrelevant, and makes the selection forgive an imperfect model of the activations.",
    ),
    (
        "Draw",
        "One sampling of knockoffs. A selection averages several, so that it hangs less on chance.",
    ),
    (
        "E-value",
        "A neuron's evidence. For neurons that do not matter it is small on average, by "
        "construction; a large one is hard to get by chance.",
    ),
    (
        "Effect size",
        "How strongly a column of metadata goes with the mechanisms, from 0 to 1, whatever the "
        "number of samples; the p-value says how sure it is that there is anything at all.",
    ),
    (
        "Knockoff",
        "A random copy of a neuron that behaves like it towards all other neurons but knows "
        "nothing of the target. A neuron has to beat its copies to be selected.",
    ),
    ("Layer", "A module of the network, by its dotted name."),
    (
        "Mechanism",
        "A group of samples with the same predicted class and the same pattern over the critical "
        "neurons: one reason for the prediction.",
    ),
    (
        "Membership",
        "How clearly a sample belongs to its mechanism rather than to another; 100 % is certain.",
    ),
    (
        "Neuron",
        "One number per sample at a layer: a unit of a linear layer, or a channel of a "
        "convolution averaged over the picture.",
    ),
    (
        "Stability",
        "How well the same group comes back when halves of the samples are grouped anew: the mean "
        "overlap of the two, members of both over members of either, from 0 to 1.",
    ),
    (
        "Target",
        "What a layer's neurons were selected for: the class score at the top, below it the "
        "critical neurons of the layer above.",
    ),
    (
        "Typicality",
        "How usual a sample is for its mechanism: 0.05 says that only one in twenty of its "
        "samples is as unusual.",
    ),
)
"""Word and meaning, in alphabetical order."""


def glossary(words: Collection[str], *own: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """Some of these words, and others that a page has of its own, in alphabetical order."""
    return tuple(sorted((*(entry for entry in GLOSSARY if entry[0] in words), *own)))
