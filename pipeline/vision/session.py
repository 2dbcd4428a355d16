"""ONNX Runtime sessions, and its refusals put into words a person can act on."""

from __future__ import annotations

import re
from collections.abc import Sequence

import onnxruntime as ort  # type: ignore[import-untyped]
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors  # type: ignore[import-untyped]

from pipeline.ports import UserError

CPU = ("CPUExecutionProvider",)
ORT_QUIET = 4  # ONNX Runtime's log level "fatal": what it would say is raised as well
REFUSALS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.NoModel,
    ort_errors.RuntimeException,
    ValueError,
)

ONE_FILE = "export it as one file, whose hash the card can hold (onnx.save_model without save_as_external_data)"
WORDS = (
    (r"external data|model_path must not be empty|GetExtDataFromTensorProto", "it keeps weights in other files; "),
    (r"opset|IR version", "its opset or IR version is not one this ONNX Runtime knows; export it with opset 17; "),
    (
        r"INVALID_PROTOBUF|codec can't decode|Protobuf parsing failed|does not have a graph|No graph was found",
        "it is no ONNX file, or cut; ",
    ),
    (r"is not a registered function/op|NOT_IMPLEMENTED", "it has an operator this ONNX Runtime does not know; "),
)


def open_session(weights: bytes, threads: int, providers: Sequence[str], name: str) -> ort.InferenceSession:
    """A session on `providers`; the first that can do a node does it. Raises UserError; `name` is for its words."""
    check_providers(providers)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = ORT_QUIET
    # Threads that spin between frames would take the cores from telemetry.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        # Without this ONNX Runtime tries again on the CPU, and prints it.
        session = ort.InferenceSession(weights, options, providers=list(providers), enable_fallback=0)
    except REFUSALS as error:
        raise UserError(refusal(name, error)) from error
    idle = sorted(set(providers) - set(session.get_providers()))
    if idle:
        raise UserError(
            f"{', '.join(idle)} is built in but does not start on this machine (driver or library missing); "
            f"set [vision] providers to one that does: {', '.join(session.get_providers())}"
        )
    return session


def check_providers(providers: Sequence[str]) -> None:
    """Raises UserError naming what this ONNX Runtime has."""
    there = ort.get_available_providers()
    missing = [name for name in providers if name not in there]
    if missing or not providers:
        raise UserError(
            f"no execution provider {', '.join(missing) or 'is named'}; this ONNX Runtime has {', '.join(there)}: "
            "set [vision] providers to some of these"
        )


def refusal(name: str, error: Exception) -> str:
    """ONNX Runtime's refusal of a model as one line: what it comes to, then its own words."""
    said = " ".join(str(error).split())
    found = next((words for pattern, words in WORDS if re.search(pattern, said, re.IGNORECASE)), "")
    if found == WORDS[0][1]:
        found += ONE_FILE + "; "
    return f"ONNX Runtime refuses {name}: {found}it says {said[:200]!r}"
