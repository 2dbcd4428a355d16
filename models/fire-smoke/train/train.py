"""Train the fire and smoke net.

    python train.py DATA --out RUN [--tiers A|all] [--minutes 25] [--size 416] [--trained-from 99] [--start RUN]

Stops by the clock: the learning rate follows the share of `--minutes` that has passed, so a run ends annealed.
Writes RUN/net.pt (moving average of the weights), RUN/log.jsonl and RUN/run.json.
"""

from __future__ import annotations

import argparse
import json
import math
import queue
import threading
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from augment import Augment
from data import MEAN, STD, load, use
from loss import detection_loss
from net import FireSmokeNet, decode, points
from torch import Tensor

Batch = tuple[Tensor, list[Tensor], list[Tensor]]
WARM_UP_STEPS = 60
BOX_WEIGHT = 2.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tiers", choices=("A", "all"), default="A", help="A: freely licensed data alone")
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--size", type=int, default=416)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1.5e-3, help="top learning rate of pyramid and head")
    parser.add_argument("--trained-from", type=int, default=99, help="first backbone block trained; 99: none")
    parser.add_argument("--start", type=Path, help="a run whose weights to go on from")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def to_batch(augment: Augment, count: int) -> Batch:
    drawn = [augment.draw() for _ in range(count)]
    images = torch.from_numpy(np.stack([d[0][:, :, ::-1] for d in drawn])).permute(0, 3, 1, 2)
    return images, [torch.from_numpy(d[1]) for d in drawn], [torch.from_numpy(d[2]) for d in drawn]


def feeder(augment: Augment, count: int, depth: int = 3) -> queue.Queue[Batch]:
    """Batches made by a thread of their own (OpenCV lets go of the interpreter), a few ahead."""
    made: queue.Queue[Batch] = queue.Queue(depth)

    def work() -> None:
        while True:
            made.put(to_batch(augment, count))

    threading.Thread(target=work, daemon=True).start()
    return made


def optimiser(net: FireSmokeNet, rate: float, trained_from: int) -> torch.optim.AdamW:
    new = [p for part in (net.pyramid, net.head) for p in part.parameters()]
    old = [p for block in list(net.backbone.blocks)[max(0, trained_from) :] for p in block.parameters()]
    groups = [{"params": new, "top": rate}, {"params": old, "top": rate * 0.15}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=rate, weight_decay=0.02)


def rate_share(passed: float, step: int) -> float:
    """Warm up by steps, then half a cosine by the clock."""
    return min(1.0, (step + 1) / WARM_UP_STEPS) * max(0.01, 0.5 * (1 + math.cos(math.pi * min(passed, 1.0))))


@torch.no_grad()
def follow(average: FireSmokeNet, net: FireSmokeNet, step: int) -> None:
    decay = min(0.998, (step + 1) / (step + 10))
    for slow, fast in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if slow.dtype.is_floating_point:
            slow.lerp_(fast, 1 - decay)


class Trainer:
    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        torch.set_num_threads(args.threads)
        self.args = args
        self.net = FireSmokeNet().to(memory_format=torch.channels_last)
        if args.start:
            self.net.load_state_dict(torch.load(args.start / "net.pt"))
        self.average = deepcopy(self.net).eval().requires_grad_(False)
        self.net.train()
        self.optimiser = optimiser(self.net, args.rate, args.trained_from)
        self.centres, self.strides = points(args.size)

    def step(self, batch: Batch, passed: float, number: int) -> tuple[float, float]:
        share = rate_share(passed, number)
        for group in self.optimiser.param_groups:
            group["lr"] = group["top"] * share
        losses = self.losses(batch)
        self.optimiser.zero_grad()
        (losses[0] + BOX_WEIGHT * losses[1]).backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 10.0)
        self.optimiser.step()
        follow(self.average, self.net, number)
        return losses[0].item(), losses[1].item()

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        images = ((batch[0].float() - MEAN) / STD).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            raw = self.net(images, self.args.trained_from)
        raw = raw.float()
        boxes = decode(raw[..., :4], self.centres, self.strides)
        return detection_loss(raw, boxes, self.centres, truths=batch[1], ignored=batch[2])

    def save(self) -> None:
        partial = self.args.out / "net.partial"
        torch.save(self.average.state_dict(), partial)
        partial.rename(self.args.out / "net.pt")


def run(trainer: Trainer, batches: queue.Queue[Batch]) -> int:
    args, begun, number = trainer.args, time.monotonic(), 0
    seen: list[tuple[float, float]] = []
    with (args.out / "log.jsonl").open("w", encoding="utf-8") as log:
        while (passed := (time.monotonic() - begun) / (60 * args.minutes)) < 1.0:
            seen.append(trainer.step(batches.get(), passed, number))
            number += 1
            if number % 50 == 0:
                means = np.mean(seen[-50:], 0).round(4).tolist()
                print(json.dumps({"step": number, "passed": round(passed, 3), "loss": means}), file=log, flush=True)
            if number % 200 == 0:
                trainer.save()
    trainer.save()
    return number


def main() -> None:
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    samples = load(args.data, tiers=("A",) if args.tiers == "A" else ("A", "A*"), long_side=640)
    training = [s for s in samples if use(s) == "training"]
    trainer = Trainer(args)
    augment = Augment(training, args.size, np.random.default_rng(args.seed))
    steps = run(trainer, feeder(augment, args.batch))
    facts = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items() if k not in ("data", "out")}
    facts |= {"steps": steps, "pictures": len(training)}
    (args.out / "run.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
