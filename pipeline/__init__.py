"""The flow, drawn once. Imports point back along it, never forward (tests/test_layers.py says so).

edge/                         MQTT                 pipeline/
camera ─┐                                          bridge ──► log ──► telemetry: clean → rules → store ─┐
gps ────┼─► spool ─► publish ══════► broker ════►    │       topics                                     │
sensor ─┘     ▲                                      │          └──► vision: decode → detect → store    │
              └──────────── receipts ◄───────────────┘                       → sighting ────────────────┤ signals
                                                                                                        ▼
operators, traffic teams ◄── api + console ◄── alarm book (SQL) ◄── alarms: one episode, one alarm ◄────┘

message < wire < ports < settings < rules < telemetry, vision, alarms, store < jetstream, bridge, engine
        < api < app < embedded < cli
"""
