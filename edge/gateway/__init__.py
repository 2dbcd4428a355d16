"""Takes trackers: servers for what they speak, and an answer only when what they sent is on the disk.

    TCP, UDP ── talk ── turns ── keeper ── outlet ── spool        a talk is one tracker's side of a connection
    HTTP ────── web  ──┘   │        │
                          desk   replies go out after the spool's fsync

A tracker keeps what is not answered and sends it again: what is lost between it and the disk comes twice, never not
at all, and the store knows a fix by its unit and time. `talk` and `desk` are pure; `tcp`, `udp`, `http` move bytes.
"""
