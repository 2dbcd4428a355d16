"""The devices with the time of their last sign of life, the parts of the system, and what was refused."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from pipeline.api.console import words
from pipeline.api.console.frame import page
from pipeline.api.console.outlook import Outlook
from pipeline.api.explain import duration
from pipeline.api.health import DEVICE_STATES, DeviceHealth, PartHealth
from pipeline.message import SECOND

COLUMNS: list[dict[str, Any]] = [
    {"name": "state", "label": "State", "field": "state", "align": "left", "sortable": True},
    {"name": "device", "label": "Device", "field": "device", "align": "left", "sortable": True},
    {"name": "why", "label": "Remark", "field": "why", "align": "left"},
    {"name": "heard", "label": "Last heard", "field": "heard", "align": "left"},
    {"name": "scored", "label": "Last frame scored", "field": "scored", "align": "left"},
    {"name": "shed", "label": "Frames given way", "field": "shed", "align": "right", "sortable": True},
    {"name": "waiting", "label": "Waiting", "field": "waiting", "align": "right", "sortable": True},
    {"name": "dropped", "label": "Dropped", "field": "dropped", "align": "right", "sortable": True},
]
PART_COLUMNS: list[dict[str, Any]] = [
    {"name": "state", "label": "State", "field": "state", "align": "left"},
    {"name": "part", "label": "Part", "field": "part", "align": "left"},
    {"name": "figures", "label": "Figures", "field": "figures", "align": "left"},
    {"name": "why", "label": "Remark", "field": "why", "align": "left"},
]
REFUSED_COLUMNS: list[dict[str, Any]] = [
    {"name": "reason", "label": "Reason", "field": "reason", "align": "left"},
    {"name": "count", "label": "Count", "field": "count", "align": "right"},
]
WHY_CELL = f"""
<q-td :props="props"><span class="remark">{{{{ props.value }}}}</span>
<a v-if="props.row.camera" class="why-not" :href="'/why-not?camera=' + encodeURIComponent(props.row.device)"
>{words.WHY_NOT_CAMERA}</a></q-td>
"""
STATE_CELL = """
<q-td :props="props"><span class="chip" :class="'health-' + props.value">{{ props.value }}</span></q-td>
"""


def device_row(d: DeviceHealth, shed: int = 0) -> dict[str, Any]:
    """A row of the device table. `shed`: frames that were too many to be scored."""
    return {
        "device": d.device,
        "state": d.state,
        "camera": d.scored_s is not None,
        "heard": _ago(d.heard_s),
        "scored": _ago(d.scored_s) if d.scored_s is not None else "",
        "shed": shed or "",
        "waiting": int(d.row.get("waiting") or 0),
        "dropped": int(d.row.get("dropped") or 0),
        "why": "; ".join(filter(None, (d.cause, d.why, str(d.row.get("detail") or "")))),
    }


def part_row(p: PartHealth) -> dict[str, Any]:
    """A row of the table of parts, with a few of its own figures."""
    return {
        "key": f"{p.part} {p.instance}",
        "part": f"{words.KINDS.get(p.part, p.part)} {p.instance}".strip(),
        "state": "ok" if p.ok else "blind",
        "figures": figures(p.row),
        "why": p.why,
    }


def figures(row: dict[str, Any]) -> str:
    """`positions: 12,345 handled, 0 behind` of a pulse row."""
    topics = [(k, v) for k, v in row.items() if isinstance(v, dict)]
    if topics:
        return "; ".join(f"{k}: {v.get('records', 0):,} handled, {v.get('behind', 0):,} behind" for k, v in topics)
    named = [
        k for k in ("accepted", "waiting", "duplicates", "refused", "listeners") if isinstance(row.get(k), int)
    ]
    return ", ".join(f"{row[k]:,} {k}" for k in named)


async def devices_page(outlook: Outlook, _user: str) -> None:
    """Build the page; it looks again every two seconds."""
    with page(outlook, "/devices"), ui.element("div").classes("sheet"):
        _heading(words.DEVICES)
        devices = _table(COLUMNS, "device", words.NO_DEVICES)
        _heading(words.PARTS)
        parts = _table(PART_COLUMNS, "key", "")
        _heading(words.QUARANTINE, words.QUARANTINE_HINT)
        refused = _table(REFUSED_COLUMNS, "reason", words.NOTHING_REFUSED)

    async def refresh() -> None:
        health = await outlook.now()
        counts = await outlook.desk.call(outlook.desk.book.refusal_counts)
        shed = health.frames("shed")
        ordered = sorted(health.devices, key=lambda d: (DEVICE_STATES.index(d.state), d.device))
        _put(devices, [device_row(d, shed.get(d.device, 0)) for d in ordered])
        _put(parts, [part_row(p) for p in health.parts])
        _put(refused, [{"reason": r, "count": n} for r, n in sorted(counts.items(), key=lambda c: -c[1])])

    ui.timer(2.0, refresh)


def _heading(text: str, hint: str = "") -> None:
    ui.label(text).classes("heading").props('role="heading" aria-level="1"')
    if hint:
        ui.label(hint).classes("soft")


def _table(columns: list[dict[str, Any]], key: str, nothing: str) -> ui.table:
    table = ui.table(columns=columns, rows=[], row_key=key, pagination=0).classes("table")
    table.props(f'flat hide-pagination virtual-scroll-slice-size=50 no-data-label="{nothing}"')
    table.props(":grid='innerWidth < 720'")
    table.add_slot("body-cell-state", STATE_CELL)
    table.add_slot("body-cell-why", WHY_CELL)
    return table


def _put(table: ui.table, rows: list[dict[str, Any]]) -> None:
    """Send only what changed."""
    if table.rows != rows:
        table.rows = rows


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return words.NEVER
    return words.NOW if seconds < 3 else f"{duration(int(seconds * SECOND))} ago"
