"""Candles and coin names from the REST interface, in pages, with patience (market-data.md 2.4).

    POST {"type": "candleSnapshot", "req": {"coin", "interval", "startTime", "endTime"}} -> candles, oldest first

An answer begins with the candle that *contains* `startTime`, so the page after `t` begins with `t` again; the server
keeps the latest 5000 candles of an interval.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import httpx
import numpy as np
import structlog

from connectors.clock import wall_ms
from connectors.hyperliquid.frames import Fault, Json, NumberError, nearest_e8, plain, to_e8, to_ms
from connectors.hyperliquid.settings import HyperliquidSettings
from lotus.intake import Candles
from lotus.timeframe import MINUTE_MS, Timeframe

log = structlog.get_logger()
Sleep = Callable[[float], None]


class VenueError(RuntimeError):
    """The venue does not answer, or not what it should."""


class Candle(NamedTuple):
    """One candle; prices in 1e-8, the traded amount as the venue prints it, in units of the token."""

    ts: int
    open_e8: int
    high_e8: int
    low_e8: int
    close_e8: int
    volume: str
    trades: int


class Page(NamedTuple):
    """Candles of one answer that were not in an earlier one, and what could not be read in it."""

    candles: list[Candle]
    faults: list[Fault]


class InfoClient:
    """Asks the venue's `info` endpoint; safe to use from several threads."""

    def __init__(self, settings: HyperliquidSettings, sleep: Sleep = time.sleep) -> None:
        """Nothing is asked yet. `sleep` may raise to end the waiting."""
        self._settings = settings
        self._sleep = sleep
        self._http = httpx.Client(timeout=settings.rest_timeout_ms / 1_000)
        self.clock_offset_ms: int | None = None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def coins(self) -> frozenset[str]:
        """Names that can be subscribed; also learns `clock_offset_ms`: how far our wall clock is ahead of the venue's.

        raises  VenueError
        """
        answer = self._ask({"type": "meta"})
        universe = answer.get("universe") if isinstance(answer, dict) else None
        names = frozenset(
            item["name"]
            for item in (universe if isinstance(universe, list) else ())
            if isinstance(item, dict) and isinstance(item.get("name"), str)
        )
        if not names:
            raise VenueError("the answer to meta lists no coins")
        return names

    def pages(self, token: str, timeframe: Timeframe, first_ms: int, last_ms: int) -> Iterator[Page]:
        """Candles of a coin that start at `first_ms`..`last_ms`, oldest first; raises VenueError."""
        newest_ms, start_ms = first_ms - 1, first_ms
        while start_ms <= last_ms:
            request = {"coin": token, "interval": str(timeframe), "startTime": start_ms, "endTime": last_ms}
            answer = self._ask({"type": "candleSnapshot", "req": request})
            if not isinstance(answer, list):
                raise VenueError(f"the answer to candleSnapshot of {token} is no list")
            candles, faults = read_candles(answer, timeframe)
            fresh = [candle for candle in candles if newest_ms < candle.ts <= last_ms]
            if fresh or faults:
                yield Page(fresh, faults)
            if not fresh:
                return
            newest_ms = fresh[-1].ts
            start_ms = newest_ms + 1

    def _ask(self, body: Json) -> Json:
        """The answer as JSON; what may pass is asked again, a little later each time."""
        why = ""
        for attempt in range(self._settings.rest_attempts):
            if attempt:
                self._sleep(2 ** (attempt - 1) + 0.5 * (attempt - 1))
            try:
                answer = self._http.post(self._settings.rest_url, json=body)
            except httpx.RequestError as error:
                why = f"{type(error).__name__} {error}".strip()
                continue
            if answer.status_code == httpx.codes.OK:
                self.clock_offset_ms = _offset_ms(answer.headers.get("date"), wall_ms())
                with contextlib.suppress(ValueError, RecursionError):
                    return answer.json(parse_float=str, parse_constant=str)
                why = "no JSON"
                continue
            why = f"status {answer.status_code}"
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS and answer.status_code < 500:
                break
            log.warning("venue_busy", status=answer.status_code, attempt=attempt + 1)
        raise VenueError(f"{self._settings.rest_url} gives no answer to {body['type']}: {why}")


def _offset_ms(date: str | None, wall: int) -> int | None:
    """How far a wall clock is ahead of a server's `Date` header; None where there is no readable one.

    The header has whole seconds and is as old as the answer took: differences below two seconds mean nothing.
    """
    try:
        return wall - int(parsedate_to_datetime(date or "").timestamp() * 1_000)
    except ValueError:
        return None


def read_candles(answer: list[Json], timeframe: Timeframe) -> Page:
    """Candles of an answer in order of time, each start once; what is no candle is a fault."""
    found: dict[int, Candle] = {}
    faults = []
    for item in answer:
        try:
            candle = _candle(item, timeframe)
            found[candle.ts] = candle
        except NumberError as error:
            faults.append(Fault(str(error), str(item)[:1_000]))
    return Page([found[ts] for ts in sorted(found)], faults)


def fill_rows(candles: list[Candle]) -> tuple[Candles, list[Fault]]:
    """Rows of the input log; a volume that does not fit into 63 bits is a fault."""
    rows, faults = [], []
    for candle in candles:
        try:
            rows.append((*candle[:5], nearest_e8(candle.volume), candle.trades))
        except NumberError as error:
            faults.append(Fault(f"volume_{error}", str(candle._asdict())))
    columns = np.array(rows, dtype=np.int64).reshape(-1, len(Candles.layout()))
    return Candles(*columns.T), faults


def minutes(info: InfoClient, token: str, first_ms: int, last_ms: int) -> tuple[Candles, list[Fault]]:
    """The minutes of an outage as rows of the input log; raises VenueError."""
    assert first_ms % MINUTE_MS == 0, "an outage is counted in whole minutes"
    candles, faults = [], []
    for page in info.pages(token, Timeframe.M1, first_ms, last_ms):
        candles += page.candles
        faults += page.faults
    rows, more = fill_rows(candles)
    return rows, faults + more


def _candle(item: Json, timeframe: Timeframe) -> Candle:
    """One candle; raises NumberError with the reason."""
    if not isinstance(item, dict) or not isinstance(item.get("n"), int) or item["n"] < 0:
        raise NumberError("candle_unreadable")
    if item.get("i") != timeframe:
        raise NumberError("candle_of_another_interval")
    ts = to_ms(item.get("t"))
    if ts % timeframe.ms:
        raise NumberError("time_not_on_grid")
    open_e8, high_e8, low_e8, close_e8 = (to_e8(item.get(name)) for name in "ohlc")
    if min(open_e8, high_e8, low_e8, close_e8) <= 0:
        raise NumberError("price_not_positive")
    if not low_e8 <= min(open_e8, close_e8) <= max(open_e8, close_e8) <= high_e8:
        raise NumberError("prices_crossed")
    volume = plain(item.get("v"))
    if volume.startswith("-"):
        raise NumberError("volume_negative")
    return Candle(ts, open_e8, high_e8, low_e8, close_e8, volume, item["n"])


def names_listed(info: InfoClient, wanted: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Wanted coins that the venue lists, and those that it does not; raises VenueError."""
    listed = info.coins()
    return tuple(one for one in wanted if one in listed), tuple(one for one in wanted if one not in listed)
