"""Gateways of real processes, with a stand-in for what serves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from running_gateway import Gateway

END_TO_END = str(Path(__file__).parents[1] / "end_to_end")
if END_TO_END not in sys.path:  # the browser is at home there
    sys.path.insert(0, END_TO_END)


@pytest.fixture
def models(tmp_path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "m").write_text("1 ok\n")
    return folder


@pytest.fixture
def start(models):
    """Starts a gateway on `models`; with `wait=False` it is not waited for."""
    gateways = []

    def start_gateway(*, wait: bool = True, **options) -> Gateway:
        gateway = Gateway(models, **options)
        gateways.append(gateway)
        if wait:
            gateway.wait_started()
        return gateway

    yield start_gateway
    for gateway in gateways:
        gateway.close()
