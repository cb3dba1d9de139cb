"""The tiny network with its 24 inputs as pictures of 4 x 6, a second one like it, and strangers."""

import torch
from torch import nn
from torch.utils.data import TensorDataset

from neucept import planted_network


def build():
    return nn.Sequential(nn.Flatten(), planted_network(samples=600, seed=0).model)


def shaken():
    """The same network after a little noise on every weight."""
    network = build()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in network.parameters():
            noise = torch.randn(weights.shape, generator=random)
            weights.mul_(1 + 0.1 * noise)
    return network


def load():
    planted = planted_network(samples=600, seed=0)
    return TensorDataset(planted.x.reshape(-1, 1, 4, 6), planted.labels)


def foreign():
    return 30 * torch.rand(60, 1, 4, 6, generator=torch.Generator().manual_seed(0))
