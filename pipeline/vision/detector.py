"""The port `Detector` on ONNX Runtime: letterbox, run, decode by family, back to the picture's own pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]
from numpy.typing import NDArray

from pipeline.message import Detections, Float32s
from pipeline.ports import UserError
from pipeline.vision.card import ModelCard, Output, load_card, load_weights
from pipeline.vision.families import Convention, Family, Plan, Raw, family, select
from pipeline.vision.letterbox import Letterbox
from pipeline.vision.picture import Picture, cv2
from pipeline.vision.session import CPU, REFUSALS, open_session, refusal

DEFAULT_MIN_SCORE = 0.05


class OnnxDetector:
    """`OnnxDetector.load(folder)`; satisfies `pipeline.ports.Detector`.

    `min_score` bounds what is reported at all; whether a detection means anything is for `thresholds` and rules.
    """

    def __init__(self, card: ModelCard, session: ort.InferenceSession, *, min_score: float) -> None:
        self.card, self.min_score = card, min_score
        self._session, self._family = session, family(card.family)
        self.outputs = output_names(card.output, self._family)
        _check_graph(card, session, self.outputs)
        self.plan = Plan(card.input.width, card.input.height, len(card.classes), _convention(card, self._family))
        self._gain = (1 / np.array(card.input.std, np.float32))[None, :, None, None]
        rgb = tuple(float(v) for v in card.input.letterbox)
        self._fill = rgb[::-1]  # pictures are BGR until they become tensors
        self._dtype = np.dtype(card.input.dtype)
        self._sizes = _sizes(card, session)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        threads: int = 2,
        min_score: float = DEFAULT_MIN_SCORE,
        providers: Sequence[str] = CPU,
    ) -> OnnxDetector:
        """Read the card, check the file's sha256, start ONNX Runtime, try a grey picture. Raises UserError."""
        card = load_card(folder)
        session = open_session(load_weights(folder, card), threads, providers, str(folder / card.file))
        detector = cls(card, session, min_score=min_score)
        detector.rehearse(str(folder / card.file))
        return detector

    @property
    def model(self) -> str:
        """Name and short hash, as it stands in evidence."""
        return self.card.title

    @property
    def thresholds(self) -> dict[str, float]:
        """Per label, the score from which the card says a detection is worth a person's time."""
        return dict(self.card.thresholds)

    @property
    def providers(self) -> list[str]:
        """The execution providers in use, in order."""
        return list(self._session.get_providers())

    @property
    def input_side(self) -> int:
        """The longer side of the model's input: decoding a picture larger than this is only for the eye."""
        return max(self.card.input.width, self.card.input.height)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """One `Detections` per image, best score first. On a CPU a batch gains nothing, so one at a time."""
        return [self._detect(image) for image in images]

    def rehearse(self, name: str) -> None:
        """Look at a grey picture, so that a card that does not fit its graph is refused before frames come."""
        try:
            self.detect([np.full((48, 64, 3), 114, np.uint8)])
        except REFUSALS as error:
            raise UserError(refusal(name, error)) from error

    def raw(self, image: Picture) -> tuple[Raw, Letterbox]:
        """What the model says of a picture in its own input's pixels, and where the picture lies there."""
        height, width = image.shape[:2]
        box = Letterbox.fit(width, height, self.card.input)
        outputs = self._session.run(self.outputs, self.feed(image, box))
        tensors = dict(zip(self._family.outputs, outputs, strict=True))
        pictures = self._family.decode(tensors, self.plan)
        return pictures[0], box

    def _detect(self, image: Picture) -> Detections:
        height, width = image.shape[:2]
        raw, box = self.raw(image)
        rows, kinds = select(raw, min_score=self.min_score, iou=self.card.nms_iou)
        return Detections(
            boxes=box.to_picture(raw.boxes[rows], width, height),
            scores=raw.scores[rows, kinds],
            labels=tuple(self.card.classes[k] for k in kinds),
        )

    def feed(self, image: Picture, box: Letterbox) -> dict[str, NDArray[Any]]:
        """The graph's inputs by name: the tensor in its own type and layout, and its sizes if it asks for them."""
        tensor: NDArray[Any] = self.tensor(image, box)
        if self._dtype.kind in "iu":
            bounds = np.iinfo(self._dtype)
            tensor = np.clip(np.rint(tensor), bounds.min, bounds.max)
        if self.card.input.layout == "nhwc":
            tensor = np.ascontiguousarray(tensor.transpose(0, 2, 3, 1))
        elif self.card.input.layout == "chw":
            tensor = tensor[0]
        return {self.card.input.tensor: tensor.astype(self._dtype, copy=False), **self._sizes}

    def tensor(self, image: Picture, box: Letterbox) -> Float32s:
        """[1,3,h,w] float32: the picture scaled into its place, the rest letterbox colour, normalised."""
        wanted = self.card.input
        mode = cv2.INTER_AREA if box.scale_x < 1 else cv2.INTER_LINEAR
        drawn = cv2.resize(image, (box.width, box.height), interpolation=mode)
        right, bottom = wanted.width - box.width - box.left, wanted.height - box.height - box.top
        square = cv2.copyMakeBorder(drawn, box.top, bottom, box.left, right, cv2.BORDER_CONSTANT, value=self._fill)
        blob = cv2.dnn.blobFromImage(square, 1.0, mean=wanted.mean, swapRB=wanted.colour == "RGB")
        return np.asarray(np.multiply(blob, self._gain, out=blob), np.float32)


def output_names(output: Output, wanted: Family) -> list[str]:
    """Names in the graph of the tensors a family wants, in the order of its roles. Raises UserError."""
    names = output.tensors or list(wanted.outputs)
    if len(names) != len(wanted.outputs):
        raise UserError(f"output.tensors names {len(names)}, the family wants {', '.join(wanted.outputs)}")
    return names


def _convention(card: ModelCard, wanted: Family) -> Convention:
    """The family's, except for what the card says."""
    given, usual = card.output, wanted.convention
    return Convention(
        given.boxes or usual.boxes,
        given.unit or usual.unit,
        given.activation or usual.activation,
        given.background or usual.background,
    )


def _check_graph(card: ModelCard, session: ort.InferenceSession, wanted: Sequence[str]) -> None:
    inputs = [i.name for i in session.get_inputs()]
    outputs = [o.name for o in session.get_outputs()]
    mine = [name for name in (card.input.tensor, card.input.sizes) if name]
    if sorted(inputs) != sorted(mine) or not set(wanted) <= set(outputs):
        raise UserError(
            f"model {card.title}: family {card.family} wants input {', '.join(mine)} and outputs "
            f"{', '.join(wanted)}; the graph has {', '.join(inputs)} and {', '.join(outputs)}"
        )


def _sizes(card: ModelCard, session: ort.InferenceSession) -> dict[str, NDArray[Any]]:
    """The second input of a graph that multiplies its boxes: our own input's width and height."""
    kinds = {i.name: i.type for i in session.get_inputs()}
    if not card.input.sizes:
        return {}
    dtype = np.dtype({"tensor(int64)": "int64", "tensor(int32)": "int32"}.get(kinds[card.input.sizes], "float32"))
    return {card.input.sizes: np.array([[card.input.width, card.input.height]], dtype)}


__all__ = ["DEFAULT_MIN_SCORE", "Letterbox", "OnnxDetector", "Raw"]
