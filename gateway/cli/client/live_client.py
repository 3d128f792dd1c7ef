"""The client of `gateway top`, which asks a gateway's HTTP port for its state."""

from __future__ import annotations

import http.client
import json
import re
from dataclasses import dataclass
from typing import Any

PATH = "/v2/gateway/state"
_MOST_BYTES = 64 << 20

Entry = dict[str, Any]


class NoAnswer(Exception):
    """No answer came, or none that a gateway gives; the text says why."""


@dataclass(frozen=True)
class State:
    """The state of a gateway, as in the JSON of /v2/gateway/state.

    Its texts hold nothing that a terminal would obey.
    """

    made_at_s: float
    window_s: float
    gateway: Entry
    total: Entry
    notices: tuple[Entry, ...]
    versions: tuple[Entry, ...]
    processes: tuple[Entry, ...]
    events: tuple[Entry, ...]


class LiveClient:
    """Asks over a new connection each time.

    One that is kept would not notice that another gateway has the port by now.
    """

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self._host = host
        self._port = port
        self._timeout_s = timeout_s
        self._where = f"{f'[{host}]' if ':' in host else host}:{port}"

    def state(self) -> State:
        """The gateway's state at this moment; raises `NoAnswer`."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        try:
            connection.request("GET", PATH)
            response = connection.getresponse()
            status = response.status
            body = response.read(_MOST_BYTES)
        except UnicodeError as error:
            raise NoAnswer(f"{self._where}: no host can be called so") from error
        except TimeoutError as error:
            raise NoAnswer(f"{self._where} does not answer within {self._timeout_s:g} s") from error
        except http.client.HTTPException as error:
            raise NoAnswer(
                f"what answers at {self._where} does not speak HTTP; the gateway's HTTP port is "
                "meant (gateway serve --http-port)"
            ) from error
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise NoAnswer(f"no gateway answers HTTP at {self._where}: {why}") from error
        finally:
            connection.close()
        return self._read(status, body)

    def _read(self, status: int, body: bytes) -> State:
        try:
            document = _harmless(json.loads(body)) if status == http.client.OK else {}
            lists = {
                name: tuple(document[name])
                for name in ("notices", "versions", "processes", "events")
            }
            return State(
                document["made_at_s"],
                document["window_s"],
                document["gateway"],
                document["total"],
                **lists,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise NoAnswer(
                f"{self._where} answers {PATH} with HTTP status {status}, and not as a gateway does"
            ) from error

    def __repr__(self) -> str:
        return f"<LiveClient {self._where}>"


def _harmless(value: Any) -> Any:
    """The value without control characters, which a terminal obeys.

    Callers choose some of the words in it.
    """
    if isinstance(value, str):
        return re.sub(
            r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]",
            "\N{REPLACEMENT CHARACTER}",
            value,
        )
    if isinstance(value, list):
        return [_harmless(each) for each in value]
    if isinstance(value, dict):
        return {name: _harmless(each) for name, each in value.items()}
    return value
