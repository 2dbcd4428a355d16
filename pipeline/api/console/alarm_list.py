"""The list of alarms: AG Grid, critical ones that nobody has noticed first, then newest first.

It is kept up to date by transactions, so that 10,000 rows stay quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nicegui import ui

from pipeline.api.console import words
from pipeline.api.console.rows import row
from pipeline.api.desk import Desk
from pipeline.message import Alarm

FIRST = 500
"""Alarms loaded at first."""

FILTERS: dict[str, dict[str, Any]] = {
    words.OPEN: {"state": {"filterType": "text", "type": "notEqual", "filter": "resolved"}},
    words.UNACKNOWLEDGED: {"unseen": {"filterType": "text", "type": "equals", "filter": "yes"}},
    words.EVERYTHING: {},
}
GRID: dict[str, Any] = {
    "columnDefs": [
        {
            "field": "at",
            "width": 92,
            "sort": "desc",
            "sortIndex": 1,
            ":cellRenderer": "vedette.cells.when",
            ":getQuickFilterText": "() => ''",
        },
        {"field": "reason", "flex": 1, "minWidth": 150, ":cellRenderer": "vedette.cells.what", "colId": "what"},
        {
            "field": "state",
            ":width": "innerWidth < 720 ? 104 : 134",
            "filter": True,
            ":cellRenderer": "vedette.cells.state",
            "cellClass": "state-cell",
        },
        {
            "field": "urgent",
            "hide": True,
            "sort": "desc",
            "sortIndex": 0,
            ":getQuickFilterText": "() => ''",
        },
        {"field": "unseen", "hide": True, "filter": True},
        {"field": "about", "hide": True},
    ],
    "defaultColDef": {
        "sortable": False,
        "resizable": False,
        "suppressMovable": True,
        "suppressHeaderMenuButton": True,
    },
    "rowData": [],
    "headerHeight": 0,
    "rowHeight": 66,
    ":getRowId": "params => params.data.id",
    "rowClassRules": {
        "sev-critical": "data.severity == 'critical'",
        "sev-high": "data.severity == 'high'",
        "sev-warning": "data.severity == 'warning'",
        "sev-info": "data.severity == 'info'",
        "unseen": "data.unseen == 'yes'",
        "done": "data.state == 'resolved'",
    },
    "rowSelection": {"mode": "singleRow", "checkboxes": False, "enableClickSelection": True},
    ":onSelectionChanged": "vedette.chosen",
    ":onGridReady": "p => { vedette.grid = p.api; }",
    ":onRowDataUpdated": "vedette.keepFocus",
    ":onCellFocused": "p => p.api.getDisplayedRowAtIndex(p.rowIndex)?.setSelected(true, true)",
    "includeHiddenColumnsInQuickFilter": True,
    "animateRows": True,
    "suppressCellFocus": False,
    "overlayNoRowsTemplate": f'<span class="empty">{words.NO_ALARMS}</span>',
}


class AlarmList:
    """The list with its filters. The browser emits `chosen` with the id of the alarm that a person selects."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._alarms: dict[str, Alarm] = {}
        with ui.element("section").classes("list").props(f'aria-label="{words.ALARMS}"'):
            self._controls()
            self.grid = ui.aggrid(GRID).classes("grid")
            with ui.element("div").classes("foot"):
                self._count = ui.label().props('role="status"')
                self._older = ui.button(words.OLDER, on_click=self.older, color=None)
                self._older.props("flat dense no-caps").classes("plain")
                ui.link(words.WHY_NOT, "/why-not").classes("why-not")
        self._older.set_visibility(False)

    def _controls(self) -> None:
        with ui.element("div").classes("controls"):
            names = list(FILTERS)
            self._filter = ui.toggle(names, value=words.OPEN, on_change=lambda e: self._apply_filter(e.value))
            self._filter.props("no-caps unelevated dense").classes("filters")
            search = ui.input(placeholder=words.SEARCH).props("dense borderless clearable debounce=150")
            search.props(f'aria-label="{words.SEARCH}"').classes("search")
            search.on_value_change(
                lambda e: self.grid.run_grid_method("setGridOption", "quickFilterText", e.value or "")
            )

    async def load(self) -> list[Alarm]:
        """The newest alarms; returns those that are shown."""
        await self.older()
        self._apply_filter(str(self._filter.value))
        return list(self._alarms.values())

    async def older(self) -> None:
        """Load further back: twice as far each time."""
        wanted = max(FIRST, 2 * len(self._alarms))
        found = await self._desk.call(self._desk.book.alarms, limit=wanted)
        self._older.set_visibility(len(found) >= wanted)
        self.put(found)

    def put(self, alarms: Sequence[Alarm]) -> None:
        """Add or change rows, in one transaction."""
        rows = {alarm.id: row(alarm) for alarm in alarms}
        update = [r for i, r in rows.items() if i in self._alarms]
        add = [r for i, r in rows.items() if i not in self._alarms]
        self._alarms |= {alarm.id: alarm for alarm in alarms}
        if rows:
            self.grid.run_grid_method("applyTransaction", {"add": add, "update": update})
        self._show_count()

    def select(self, alarm_id: str) -> None:
        """Select a row as if a person had."""
        self.grid.run_row_method(alarm_id, "setSelected", True, True)

    def _apply_filter(self, name: str) -> None:
        self.grid.run_grid_method("setFilterModel", FILTERS[name])

    def _show_count(self) -> None:
        waiting = sum(a.acknowledged_by is None and a.state != "resolved" for a in self._alarms.values())
        self._count.set_text(f"{len(self._alarms):,} loaded · {waiting:,} {words.UNNOTICED}")
