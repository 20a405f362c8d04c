from __future__ import annotations

import asyncio

import pytest

from aivideomaker_async import ConfigurationError
from aivideomaker_async._util.loops import running_loop


@pytest.mark.anyio
async def test_the_running_loop_is_returned() -> None:
    assert running_loop() is asyncio.get_running_loop()


def test_without_an_event_loop_of_asyncio_the_error_names_what_the_package_needs() -> None:
    with pytest.raises(ConfigurationError, match=r"this package needs asyncio \(with anyio, .* not trio\)"):
        running_loop()
