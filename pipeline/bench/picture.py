"""What the bench's cameras see: the demonstration's watch-tower, one picture a second, in which smoke rises."""

from __future__ import annotations

SIZE, QUALITY = (1280, 720), 85
SMOKE_AFTER_S = 2.0


def jpegs(count: int) -> list[bytes]:
    from edge.demo.scene import Scene
    from edge.picture import encode

    scene = Scene(SIZE, seed=3, smoke_after_s=SMOKE_AFTER_S)
    return [encode(scene.render(float(second)), QUALITY) for second in range(count)]
