"""The PyTorch side of forward.py, run by the Python of an environment that has torch: ResNet50 and VGG16, channels last.

Reads lines `network batch_size calls` and answers each with the seconds that so many forward passes took.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
from torch import nn


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)]


class Bottleneck(nn.Module):
    """A residual block of ResNet50 (He et al. 2016, arXiv:1512.03385), with the stride in its first convolution, as in
    keras.applications."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *convolution(inputs, width, 1, stride),
            nn.ReLU(inplace=True),
            *convolution(width, width, 3),
            nn.ReLU(inplace=True),
            *convolution(width, 4 * width, 1),
        )
        self.shortcut = nn.Identity() if inputs == 4 * width else nn.Sequential(*convolution(inputs, 4 * width, 1, stride))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.relu_(self.main(images) + self.shortcut(images))


def resnet50() -> nn.Module:
    layers: list[nn.Module] = [*convolution(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(blocks):
            layers.append(Bottleneck(inputs, width, stride if number == 0 else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def vgg16() -> nn.Module:
    layers: list[nn.Module] = []
    inputs = 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True)]
            inputs = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


NETWORKS: dict[str, Callable[[], nn.Module]] = {"resnet50": resnet50, "vgg16": vgg16}


def main() -> None:
    models: dict[str, nn.Module] = {}
    print(torch.__version__, flush=True)
    for line in sys.stdin:
        name, batch_size, calls = line.split()
        if name not in models:
            models[name] = NETWORKS[name]().eval().to(memory_format=torch.channels_last)
        images = torch.rand(int(batch_size), 3, 224, 224).to(memory_format=torch.channels_last)
        with torch.inference_mode():
            start = time.perf_counter()
            for _ in range(int(calls)):
                models[name](images)
            print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
