"""Write a run's net as ONNX: `python export.py RUN --size 512 --out model.onnx`.

The graph takes `images` [batch,3,size,size] and gives `boxes` [batch,n,4] (corners in input pixels) and `scores`
[batch,n,2] in 0..1, so that nothing of the net's insides is needed to use it (family `points`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from net import FireSmokeNet, decode, points
from torch import Tensor, nn

OPSET = 17
CLOSE = 2e-3


class Exported(nn.Module):
    def __init__(self, net: FireSmokeNet, size: int) -> None:
        super().__init__()
        self.net = net
        centres, strides = points(size)
        self.register_buffer("centres", centres)
        self.register_buffer("strides", strides)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        raw = self.net(images)
        return decode(raw[..., :4], self.centres, self.strides), raw[..., 4:].sigmoid()


def export(run: Path, size: int, target: Path) -> None:
    net = FireSmokeNet(pretrained=False)
    net.load_state_dict(torch.load(run / "net.pt"))
    model = Exported(net, size).eval()
    images = torch.randn(1, 3, size, size)
    names = {"input_names": ["images"], "output_names": ["boxes", "scores"]}
    axes = {name: {0: "batch"} for name in ("images", "boxes", "scores")}
    with torch.no_grad():
        torch.onnx.export(
            model, (images,), str(target), opset_version=OPSET, dynamo=False, dynamic_axes=axes, **names
        )
    onnx.checker.check_model(onnx.load(target), full_check=True)
    compare(model, target, images)


def compare(model: Exported, target: Path, images: Tensor) -> None:
    """The file must say what the net says."""
    session = ort.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        wanted = [t.numpy() for t in model(images)]
    for name, ours, theirs in zip(
        ("boxes", "scores"), wanted, session.run(None, {"images": images.numpy()}), strict=True
    ):
        worst = float(np.abs(ours - theirs).max() / max(1.0, np.abs(ours).max()))
        print(f"{name} {theirs.shape}: worst difference {worst:.1e}")
        if worst > CLOSE:
            raise SystemExit(f"{target}: {name} differ from the net's by {worst:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    export(args.run, args.size, args.out)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
