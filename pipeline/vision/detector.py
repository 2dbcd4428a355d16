"""The port `Detector` on ONNX Runtime: letterbox, run, decode by family, back to the picture's own pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors  # type: ignore[import-untyped]

from pipeline.message import Detections, Float32s
from pipeline.ports import UserError
from pipeline.vision.card import Input, ModelCard, load_card, load_weights
from pipeline.vision.families import Family, Raw, family, select
from pipeline.vision.picture import Picture, cv2

DEFAULT_MIN_SCORE = 0.05
ORT_QUIET = 4  # ONNX Runtime's log level "fatal": what it would say is raised as well
REFUSALS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.NoModel,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a picture lies in the model's input. Scales differ a hair, because whole pixels are drawn."""

    scale_x: float
    scale_y: float
    left: int
    top: int
    width: int
    height: int

    @staticmethod
    def fit(width: int, height: int, wanted: Input) -> Letterbox:
        """Centred, as large as fits, proportions kept."""
        scale = min(wanted.width / width, wanted.height / height)
        wide, high = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = (wanted.width - wide) // 2, (wanted.height - high) // 2
        return Letterbox(wide / width, high / height, left, top, wide, high)

    def to_picture(self, boxes: Float32s, width: int, height: int) -> Float32s:
        """Corners [n,4] in input pixels → pixels of the picture, cut at its edges."""
        shift = np.array([self.left, self.top] * 2, np.float32)
        scale = np.array([self.scale_x, self.scale_y] * 2, np.float32)
        edge = np.array([width, height] * 2, np.float32)
        return np.asarray(np.clip((boxes - shift) / scale, 0, edge), np.float32)


class OnnxDetector:
    """`OnnxDetector.load(folder)`; satisfies `pipeline.ports.Detector`.

    `min_score` bounds what is reported at all; whether a detection means anything is for `thresholds` and rules.
    """

    def __init__(self, card: ModelCard, session: ort.InferenceSession, *, min_score: float) -> None:
        self.card, self.min_score = card, min_score
        self._session, self._family = session, family(card.family)
        _check_graph(card, session, self._family)
        self._gain = (1 / np.array(card.input.std, np.float32))[None, :, None, None]
        self._fill = tuple(float(v) for v in card.input.letterbox)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        threads: int = 2,
        min_score: float = DEFAULT_MIN_SCORE,
        providers: Sequence[str] = ("CPUExecutionProvider",),
    ) -> OnnxDetector:
        """Read the card, check the file's sha256, start ONNX Runtime. Raises UserError."""
        card = load_card(folder)
        return cls(card, _session(folder, card, threads, providers), min_score=min_score)

    @property
    def model(self) -> str:
        """Name and short hash, as it stands in evidence."""
        return self.card.title

    @property
    def thresholds(self) -> dict[str, float]:
        """Per label, the score from which the card says a detection is worth a person's time."""
        return dict(self.card.thresholds)

    @property
    def input_side(self) -> int:
        """The longer side of the model's input: decoding a picture larger than this is only for the eye."""
        return max(self.card.input.width, self.card.input.height)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """One `Detections` per image, best score first. On a CPU a batch gains nothing, so one at a time."""
        return [self._detect(image) for image in images]

    def _detect(self, image: Picture) -> Detections:
        height, width = image.shape[:2]
        box = Letterbox.fit(width, height, self.card.input)
        outputs = self._session.run(list(self._family.outputs), {self.card.input.tensor: self.tensor(image, box)})
        raw = self._family.decode(dict(zip(self._family.outputs, outputs, strict=True)))[0]
        rows, kinds = select(raw, min_score=self.min_score, iou=self.card.nms_iou)
        return Detections(
            boxes=box.to_picture(raw.boxes[rows], width, height),
            scores=raw.scores[rows, kinds],
            labels=tuple(self.card.classes[k] for k in kinds),
        )

    def tensor(self, image: Picture, box: Letterbox) -> Float32s:
        """[1,3,h,w] float32: the picture scaled into its place, the rest letterbox colour, normalised."""
        wanted = self.card.input
        mode = cv2.INTER_AREA if box.scale_x < 1 else cv2.INTER_LINEAR
        drawn = cv2.resize(image, (box.width, box.height), interpolation=mode)
        right, bottom = wanted.width - box.width - box.left, wanted.height - box.height - box.top
        square = cv2.copyMakeBorder(drawn, box.top, bottom, box.left, right, cv2.BORDER_CONSTANT, value=self._fill)
        blob = cv2.dnn.blobFromImage(square, 1.0, mean=wanted.mean, swapRB=wanted.colour == "RGB")
        return np.asarray(np.multiply(blob, self._gain, out=blob), np.float32)


def _session(folder: Path, card: ModelCard, threads: int, providers: Sequence[str]) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = ORT_QUIET
    # Threads that spin between frames would take the cores from telemetry.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    weights = load_weights(folder, card)
    try:
        return ort.InferenceSession(weights, options, providers=list(providers))
    except REFUSALS as error:
        raise UserError(f"ONNX Runtime refuses {folder / card.file}: {str(error).splitlines()[0]}") from error


def _check_graph(card: ModelCard, session: ort.InferenceSession, wanted: Family) -> None:
    inputs = [i.name for i in session.get_inputs()]
    outputs = [o.name for o in session.get_outputs()]
    if inputs != [card.input.tensor] or not set(wanted.outputs) <= set(outputs):
        raise UserError(
            f"model {card.title}: family {card.family} wants input {card.input.tensor} and outputs "
            f"{', '.join(wanted.outputs)}; the graph has {', '.join(inputs)} and {', '.join(outputs)}"
        )


__all__ = ["DEFAULT_MIN_SCORE", "Letterbox", "OnnxDetector", "Raw"]
