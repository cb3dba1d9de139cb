"""ResNet-20 for CIFAR-10 as He et al. (2016) describe it; 91.73 % on the test images."""

from __future__ import annotations

import torch
from images import find
from torch import Tensor, nn


class Block(nn.Module):
    """Two convolutions beside a shortcut without parameters (option A)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.stride = stride
        self.added = channels - channels_in

    def forward(self, x: Tensor) -> Tensor:
        """The block's output, of `channels` maps, smaller by the stride."""
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(inner + self.shortcut(x))

    def shortcut(self, x: Tensor) -> Tensor:
        """The input, every stride-th pixel of it, with empty channels on both sides."""
        if not self.added:
            return x
        half = self.added // 2
        return nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))


class ResNet20(nn.Module):
    """Three stages of three blocks with 16, 32 and 64 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = stage(16, 16, stride=1)
        self.layer2 = stage(16, 32, stride=2)
        self.layer3 = stage(32, 64, stride=2)
        self.linear = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the ten classes, from images of 3 x 32 x 32."""
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))


def stage(channels_in: int, channels: int, stride: int) -> nn.Sequential:
    """Three blocks; the first may halve the maps and add channels."""
    first = Block(channels_in, channels, stride)
    return nn.Sequential(first, Block(channels, channels, 1), Block(channels, channels, 1))


def build() -> ResNet20:
    network = ResNet20()
    weights = find("weights/cifar10_resnet20_akamaster.pt")
    network.load_state_dict(torch.load(weights, weights_only=True))
    return network.eval()
