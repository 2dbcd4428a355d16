"""Frames to sightings: picture (decode) → detector (ONNX) → families (raw tensors to boxes)."""
