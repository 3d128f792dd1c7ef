"""Gateways of a test's own, whose logs are shown where the test fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from tests.support.running import RunningGateway


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of findings that several tests share, so that each model is inspected once."""
    return tmp_path_factory.mktemp("findings")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """An empty repository."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def gateway(tmp_path: Path, models: Path, cache: Path) -> Iterator[Callable[..., RunningGateway]]:
    """Makes gateways on `models`, which the test starts, and ends them."""
    made: list[RunningGateway] = []

    def make(
        *options: str, cache: Path | None = cache, models: Path = models, **more: object
    ) -> RunningGateway:
        made.append(
            RunningGateway(
                models, tmp_path / f"gateway-{len(made)}.log", *options, cache=cache, **more
            )
        )
        return made[-1]

    yield make
    for one in made:
        if one.process is not None:
            one.kill()
            print(f"--- {one.log.name}\n{one.text()}")


@pytest.fixture
def connect() -> Iterator[Callable[..., grpc.Channel]]:
    """Opens channels with connections of their own; closes them."""
    with contextlib.ExitStack() as stack:

        def open_channel(to: RunningGateway, **options: object) -> grpc.Channel:
            channel = stack.enter_context(
                to.channel(**{"grpc.use_local_subchannel_pool": 1, **options})
            )
            grpc.channel_ready_future(channel).result(20)
            return channel

        yield open_channel
