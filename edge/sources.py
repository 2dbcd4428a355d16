"""Which source a configuration names. Each is imported only when it is used: OpenCV alone costs a second."""

from __future__ import annotations

from edge.outlet import Source
from edge.settings import Camera, DemoCamera, DemoFleet, Gateway, Gps, Sensor, Settings, Tracks


def make_source(settings: Settings) -> Source:
    """The source of one agent. SetupError, before anything is sent, for a file that cannot be read."""
    source = settings.source
    match source:
        case Tracks():
            from edge.tracks import TrackSource

            return TrackSource(source)
        case Camera():
            from edge.camera import CameraSource

            return CameraSource(source)
        case Gps():
            from edge.gps import GpsSource

            return GpsSource(source, settings.device)
        case Gateway():
            from edge.gateway.source import GatewaySource

            return GatewaySource(source)
        case Sensor():
            from edge.sensor.source import SensorSource

            return SensorSource(source)
        case DemoFleet():
            from edge.demo.sources import FleetSource

            return FleetSource(source)
        case DemoCamera():
            from edge.demo.sources import SceneSource

            return SceneSource(source)
