"""A network and data small enough to study in seconds: two groups of inputs lead to one class."""

from torch.utils.data import TensorDataset

from neucept import planted_network


def build():
    return planted_network(seed=0).model


def load():
    planted = planted_network(seed=0)
    return TensorDataset(planted.x, planted.labels)
