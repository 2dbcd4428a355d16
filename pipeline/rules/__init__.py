"""Rules: pure functions from what was said to what it means. No clock, no I/O, no engine.

    PositionBatch ─► moves.arrange ─► Moves ─► geofence   enter, exit, dwell     ─┐
                     (late fixes out,          speed      faster than a limit     │
                      sorted by unit)          silence    no fix for too long     ├─► Signal
    DeviceRecord ────────────────────────────► silence    no sign of life         │
    ScoredFrame ─────────────────────────────► sighting   fire, smoke: confirmed ─┘

`config.load` makes them from rules.toml, `fences.load_fences` from GeoJSON; `fleet.load_fleet` says who
is enrolled.
"""
