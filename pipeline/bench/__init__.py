"""Figures of this machine against the design's numbers: `vedette bench`.

    registry ──► fold, telemetry, mqtt, vision, latency, start ──► Figure rows ──► table or JSON lines
                          │
                          └─ rig: nats-server and our parts as processes, over a temporary folder, ended at the end

Nothing is remembered from earlier runs: what stands in a figure was measured now, and a reference that is another
way of doing the same work was measured beside it.
"""
