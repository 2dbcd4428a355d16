"""What people and programs see of Vedette: HTTP under /api/v1, a live event stream, metrics, and the console.

    request ─► Gate (host, origin, token) ─┬─► /api/v1/...      routes ──► Desk ──► Store, AlarmBook, Pulse, Blobs
                                           ├─► /metrics         the same, as Prometheus text
                                           ├─► /healthz         no token: does the system see?
                                           └─► /, /devices ...  console (NiceGUI), over the same Desk

The book is tailed once for everybody (`stream.Tail`), so an alarm costs the database the same for one screen as for
twenty. Nothing here decides anything about an alarm: rules and the book did that before.
"""
