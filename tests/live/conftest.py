"""Before the first live test: everything they use is installed, where that is allowed."""

import pytest

from tests.live import install


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    """Fetch and build now, outside any test's time limit; tests that start a server of their own find it ready."""
    if install.wanted():
        install.everything()
