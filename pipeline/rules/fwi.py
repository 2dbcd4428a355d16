"""The equations of the Canadian Fire Weather Index System, by the library `cffdrs`.

Van Wagner, C.E.; Pickett, T.L. 1985: Equations and FORTRAN program for the Canadian Forest Fire Weather Index
System. The library has the later constant 250 * 59.5 / 101 where that paper rounds to 147.2: FFMC differs by up to
0.05, ISI and FWI by up to 0.1 (tests/test_fwi.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from pipeline.ports import UserError


class Codes(msgspec.Struct, frozen=True):
    """The moisture codes that are carried from day to day."""

    ffmc: float
    dmc: float
    dc: float


class Noon(msgspec.Struct, frozen=True):
    """°C, %, km/h, mm of the 24 hours before."""

    temperature: float
    humidity: float
    wind: float
    rain: float


class Indices(NamedTuple):
    codes: Codes
    isi: float
    bui: float
    fwi: float


def library() -> Any:
    """The equations. Raises UserError where they are not installed."""
    try:
        from cffdrs import cffwis
    except ImportError:
        raise UserError(
            "rules of kind fire_weather need the library cffdrs: pip install 'vedette[weather]'"
        ) from None
    return cffwis


def indices(before: Codes, noon: Noon, month: int, lat: float | None = None) -> Indices:
    """Of a day, from the codes of the day before. `lat` adjusts the length of the day; None: that of Canada."""
    system = library()
    place = {"lat": 49.0 if lat is None else lat, "lat_adjust": lat is not None}
    ffmc = system.dailyFFMC(before.ffmc, noon.temperature, noon.humidity, noon.wind, noon.rain)
    dmc = system.dailyDMC(before.dmc, noon.temperature, noon.humidity, noon.rain, month, **place)
    dc = system.dailyDC(before.dc, _drying(noon.temperature, month, lat), noon.rain, month, **place)
    isi, bui = system.dailyISI(noon.wind, ffmc), system.dailyBUI(dmc, dc)
    fwi = system.dailyFWI(isi, bui)
    return Indices(Codes(float(ffmc), float(dmc), float(dc)), float(isi), float(bui), float(fwi))


def _drying(temperature: float, month: int, lat: float | None) -> float:
    """The temperature for the drought code: below it nothing dries; in winter the library would wet the ground."""
    winter = (1, 2, 3, 11, 12) if lat is None or lat >= 20 else (5, 6, 7, 8, 9) if lat < -20 else ()
    return max(temperature, -2.8 + (1.6 / 0.36 if month in winter else 0.0))
