"""When the embedded server is started again."""

from typing import Any

from pipeline.medic import LEAST_FREE, PATIENCE_S, PAUSE_S, Medic
from pipeline.message import SECOND

BEGIN = 1_700_000_000 * SECOND
ROOM = LEAST_FREE * 4


def beats(at: int, trouble: str = "no JetStream ack") -> list[dict[str, Any]]:
    return [{"part": "bridge", "beaten": at, "trouble": trouble}, {"part": "api", "beaten": at, "trouble": ""}]


def orders(medic: Medic, seconds: float, *, trouble: str = "no JetStream ack", free: int = ROOM) -> bool:
    now = BEGIN + round(seconds * SECOND)
    return medic.orders_restart(beats(now, trouble), now=now, free=free)


def test_a_trouble_that_lasts_is_ended_by_one_restart() -> None:
    medic = Medic()
    ordered = [second for second in range(0, int(PATIENCE_S) + 100, 10) if orders(medic, second)]
    assert ordered == [PATIENCE_S]


def test_it_comes_again_only_after_a_pause() -> None:
    medic = Medic()
    ordered = [second for second in range(0, int(PATIENCE_S + 2 * PAUSE_S) + 1, 10) if orders(medic, second)]
    assert ordered == [PATIENCE_S, PATIENCE_S + PAUSE_S, PATIENCE_S + 2 * PAUSE_S]


def test_a_trouble_that_passes_by_itself_begins_anew() -> None:
    medic = Medic()
    assert not any(orders(medic, second) for second in range(0, int(PATIENCE_S), 10))
    assert not orders(medic, PATIENCE_S, trouble="")
    assert not orders(medic, PATIENCE_S + 10)


def test_without_room_nothing_is_restarted_until_there_is() -> None:
    medic = Medic()
    assert not any(orders(medic, second, free=LEAST_FREE - 1) for second in range(0, 200, 10))
    assert orders(medic, 200)


def test_a_bridge_that_says_nothing_is_no_reason() -> None:
    medic = Medic()
    for second in range(0, 200, 10):
        now = BEGIN + second * SECOND
        assert not medic.orders_restart(beats(now - 60 * SECOND), now=now, free=ROOM)
