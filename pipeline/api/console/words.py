"""Every word the console shows, in one place. English for now."""

from __future__ import annotations

from typing import Final

NAME: Final = "Vedette"
ALARMS: Final = "Alarms"
DEVICES: Final = "Devices"
TRACKS: Final = "Tracks"
CAMERAS: Final = "Cameras"
SKIP: Final = "Skip to content"

SEES: Final = "Seeing"
BLIND: Final = "Blind"
LOADING: Final = "Looking"
LOST: Final = "Connection to the server lost. Nothing on this screen is live."
BLIND_BANNER: Final = "The system does not see everything."
SOUND_ON: Final = "Sound on: a new alarm is heard"
SOUND_OFF: Final = "Sound off"
THEME: Final = "Light or dark"

OPEN: Final = "Open"
UNACKNOWLEDGED: Final = "Unacknowledged"
EVERYTHING: Final = "All"
SEARCH: Final = "Search alarms"
OLDER: Final = "Load older"
NO_ALARMS: Final = "No alarms here. New ones appear by themselves."
UNNOTICED: Final = "unacknowledged"

SELECT: Final = "Select an alarm to see why it fired."
SELECT_HINT: Final = "Click one in the list, or use the arrow keys. A acknowledges, R resolves, / searches."
ACKNOWLEDGE: Final = "Acknowledge"
RESOLVE: Final = "Resolve"
RESOLVE_TITLE: Final = "Resolve this alarm"
RESOLVE_NOTE: Final = "What was it, and what was done? (stands in the history)"
CANCEL: Final = "Cancel"
BACK: Final = "Back to the list"
WHY: Final = "Why"
FACTS: Final = "Facts"
HISTORY: Final = "History"
NEARBY: Final = "Units near it"
NEARBY_HINT: Final = "Read for this alarm; the reading stands on the audit log."
NOBODY_NEAR: Final = "No enrolled unit is inside, heading in, or free."
EVIDENCE: Final = "Evidence"
ALL_FIGURES: Final = "All figures of the rule"
FIRE_WEATHER: Final = "Fire weather"
WHAT_ELSE: Final = "What else did this camera show then?"
CHOOSE_CAMERA: Final = "Choose a camera: its newest picture appears here."
NO_PICTURE: Final = "The picture is past its retention, or was never kept."
NO_PLACE: Final = "This alarm has no place on the map."
MAP: Final = "Map of units, fences, cameras and alarms"

SUBJECT: Final = "Subject"
PLACE: Final = "Place"
RULE: Final = "Rule"
MODEL: Final = "Model"
BEGAN: Final = "Began"
ENDED: Final = "Ended"
GOING_ON: Final = "still going on"
LASTED: Final = "Lasted"

STATES: Final = {
    "raised": "New",
    "acknowledged": "Acknowledged",
    "cleared": "Over, not seen",
    "resolved": "Resolved",
    "corrected": "Corrected",
}
CHANGES: Final = {
    "raised": "Raised",
    "began": "Raised",
    "escalated": "Graver",
    "joined": "Seen by another",
    "left": "Lost by one",
    "still": "Still so",
    "cleared": "Over",
    "ended": "Over",
    "acknowledged": "Acknowledged",
    "resolved": "Resolved",
    "corrected": "Corrected by late fixes",
}
SEVERITIES: Final = {"critical": "Critical", "high": "High", "warning": "Warning", "info": "Notice"}
KINDS: Final = {"api": "console server", "worker-telemetry": "telemetry", "worker-vision": "vision"} | {
    "worker-alarms": "alarm book",
    "bridge": "bridge",
}

WHY_NOT: Final = "Why was there no alarm?"
WHY_NOT_HINT: Final = "What a camera showed at a time, and what the rules made of it."
WHY_NOT_CAMERA: Final = "Why no alarm?"
AT: Final = "Time (UTC)"
WITHIN: Final = "Seconds before and after"
ASK: Final = "Ask"
ANSWER: Final = "Answer"
ALL_KNOWN: Final = "All that is known"
CAMERA_NEEDED: Final = "Choose a camera."
OPEN_ALARM: Final = "Open the alarm"
BAD_TIME: Final = "Write the time like 2026-01-31 12:00:00, in UTC."
FRAMES_SCORED: Final = "pictures were looked at in that time"

PARTS: Final = "Parts of the system"
NO_DEVICES: Final = "No device has been heard yet. Enrol one and start its agent."
QUARANTINE: Final = "Refused"
QUARANTINE_HINT: Final = "Messages and rows that were not accepted, by reason, since the beginning."
NOTHING_REFUSED: Final = "Nothing has been refused."
NOW: Final = "now"
NEVER: Final = "never"

CALIBRATE_TITLE: Final = "Where a camera looks"
CALIBRATE_HINT: Final = (
    "Click a thing you know in the picture, then the same thing on the map, or type its place. "
    "Two that are far apart give the azimuth, three the field of view too."
)
CAMERA: Final = "Camera"
LAT: Final = "Latitude (°)"
LON: Final = "Longitude (°)"
FOV_FIELD: Final = "Field of view (°)"
TILT_FIELD: Final = "Tilt (°)"
FOV: Final = "Field of view"
AZIMUTH: Final = "Azimuth"
RESIDUAL: Final = "Residual"
ERROR: Final = "error of the azimuth"
UPLOAD: Final = "Or a picture of it from this machine"
LANDMARK_PLACE: Final = "Place of the landmark: latitude, longitude"
BAD_PLACE: Final = "Write latitude and longitude in degrees, with a comma between them."
NEXT_CAMERA: Final = "First: choose a camera."
NEXT_BOTH: Final = "Next: click a landmark in the picture."
NEXT_MAP: Final = "Next: click the same landmark on the map, or type its place and press Enter."
NEXT_PICTURE: Final = "Next: click the same landmark in the picture."
CAMERA_PICTURE: Final = "Picture of the camera: click a landmark"
NO_CAMERA_PICTURE: Final = "No evidence picture of this camera is kept: choose one from this machine."
BAD_PICTURE: Final = "This file is no picture that the browser can show: choose a JPEG or PNG."
STAND_NEEDED: Final = "Still needed: where the camera stands (latitude, longitude), and its field of view."
ONE_LANDMARK: Final = "One landmark cannot be checked: add a second, far from it in the picture."
PASTE: Final = "Put this line into cameras.toml, under the camera's name, then start the workers again:"
DROP: Final = "Take this landmark away"

TRACK_TITLE: Final = "Read a track"
TRACK_HINT: Final = (
    "Each reading is written to the audit log under your name, with its purpose, before it is shown."
)
UNIT: Final = "Unit"
FROM: Final = "From (UTC)"
TO: Final = "To (UTC)"
TIME: Final = "2026-01-31 12:00:00"
PURPOSE: Final = "Purpose"
PURPOSES: Final = ("incident review", "traffic planning", "maintenance of a device", "request of the operator")
SHOW: Final = "Show track"
NO_UNITS: Final = "No enrolled unit has sent a position yet."
DAY: Final = "Day (UTC)"
LIMIT: Final = "Speed limit (km/h), if speeding is asked for"
NO_TRACK: Final = "No positions of this unit in this period. Its last one is of"
NO_ANSWER: Final = "The server did not answer in time. Ask for a shorter period."
TRIPS: Final = "Trips and stops (UTC)"
TRIPS_HINT: Final = "A stop: within 75 m for 3 minutes. Press a line to see it on the map."
LOOKING_FOR_TRIPS: Final = "Looking for trips and stops"
NO_TRIPS: Final = "Too few positions for a trip or a stop."
SEGMENTS: Final = {"trip": "Trip", "stop": "Stop", "gap": "Gap"}
SPEEDING: Final = "Speeding (UTC)"
NO_SPEEDING: Final = "Never above the limit."
MORE_LINES: Final = "more are on the map; a shorter period lists them."
SAVE: Final = "Save as"
CUT: Final = "The track is longer than one reading may be; the end is missing. Ask for a shorter period."
FORMS: Final = {"geojson": "GeoJSON", "csv": "CSV", "gpx": "GPX"}
