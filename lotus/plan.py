"""The plan of a run: its series, indices, engines, drivers and positions, and where each kernel's output goes.

Built once from the configuration and what the feed will deliver. The river and the replay flow both follow it, so
the joins of replay.md 3-5 stand here and nowhere else.

       candles -> mending
              ^
    ticks -> bar -> rollup -> grid ------+-----> trend -> posture -> position
                                |        |         |         ^
                                v        |         v         |
                              basket -> grid     board ------+
                dominance samples -> bars -> grid
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from lotus.bar import BarConfig, BarOutputs
from lotus.basket import BasketConfig, Roster
from lotus.config import Config
from lotus.dominance import DominanceConfig, DominanceOutputs
from lotus.feed import BucketTag, Instrument, Manifest
from lotus.grid import GridConfig
from lotus.intake import Commands
from lotus.kernel import Chunk, Series
from lotus.lane import Lane
from lotus.mending import MendConfig, Patches
from lotus.position.config import BlockScope
from lotus.position.kernel import Account
from lotus.posture.board import BoardConfig, driver_slots
from lotus.posture.drivers import BUCKET_SERIES
from lotus.posture.kernel import Posture
from lotus.records import Bars, Board, Executions, Postures, Samples, Trend
from lotus.rollup import Raw, RollupConfig
from lotus.scene import Scenes
from lotus.timeframe import TIMEFRAMES, Timeframe
from lotus.trend.kernel import Engine

R = TypeVar("R")

ALT = "idx:ALT"
BOARD = "board"
_GRIDS = {timeframe: GridConfig(timeframe) for timeframe in TIMEFRAMES}


class PlanError(ValueError):
    """The run cannot be planned; the message names the cure."""


@dataclass(frozen=True)
class Plan:
    """What runs, for which keys, with which configuration.

    timeframes  on which every token is traded
    owned       tokens of this process's share; None: all. Drivers are planned over all tokens whatever the share
    at_venue    a venue executes instead of the paper broker: intents stay in flight until it reports
    raises      PlanError when drivers or timeframes cannot be served by the feed
    """

    config: Config
    manifest: Manifest
    timeframes: tuple[Timeframe, ...]
    owned: frozenset[str] | None = None
    at_venue: bool = False

    def __post_init__(self) -> None:
        """Refuse what no part of the feed could serve."""
        venues = sorted({one.series.venue for one in self.manifest.instruments})
        if self.config.drivers.venue and self.config.drivers.venue not in venues:
            raise PlanError(f"drivers.venue is {self.config.drivers.venue}: the venues of this run are {venues}")
        if not self.config.drivers.venue and len(venues) > 1:
            raise PlanError(f"several venues are loaded ({', '.join(venues)}): say drivers.venue")
        if not self.timeframes:
            raise PlanError("no timeframe to trade: name at least one with --timeframes")
        if not self.traded and self.owned is None:
            finest = min((one.source for one in self.manifest.instruments), key=lambda timeframe: timeframe.rank)
            raise PlanError(f"no series offers {', '.join(self.timeframes)}: the finest source is {finest}")

    @cached_property
    def venue(self) -> str:
        """The venue of the drivers."""
        return self.config.drivers.venue or self.manifest.instruments[0].series.venue

    @cached_property
    def instruments(self) -> dict[Series, Instrument]:
        """Instruments of the feed by series."""
        return {one.series: one for one in self.manifest.instruments}

    @cached_property
    def traded(self) -> dict[Lane, tuple[tuple[int, str | None], ...]]:
        """Every lane with a position, and the bucket of its token over time."""
        wanted = [timeframe for timeframe in TIMEFRAMES if timeframe in self.timeframes]
        return {
            Lane(one.series.token, one.series.venue, timeframe): self._bucket_schedule(one.series.token)
            for one in self.manifest.instruments
            for timeframe in wanted
            if timeframe.rank >= one.source.rank and self.owns(one.series.token)
        }

    def owns(self, token: str) -> bool:
        """Whether this process works on the token."""
        return self.owned is None or token in self.owned

    @cached_property
    def bar_lanes(self) -> tuple[Lane, ...]:
        """Every lane that bars are made for here."""
        return tuple(
            Lane(one.series.token, one.series.venue, timeframe)
            for one in self.manifest.instruments
            for timeframe in TIMEFRAMES
            if timeframe.rank >= one.source.rank and self.owns(one.series.token)
        )

    @cached_property
    def indices(self) -> dict[Lane, BasketConfig]:
        """Index lanes: ALT and every bucket, on each horizon that all sources of the drivers' venue offer."""
        drivers = self.config.drivers
        members = tuple(sorted({one.token for one in self.instruments if one.venue == self.venue}))
        alt = tuple(token for token in members if token in drivers.alt_members)
        rosters = {BUCKET_SERIES + bucket: roster for bucket, roster in self._rosters(members).items()}
        minimum = dict.fromkeys(rosters, drivers.bucket_minimum)
        if len(alt) >= drivers.alt_minimum:
            rosters[ALT], minimum[ALT] = (Roster(0, alt),), drivers.alt_minimum
        return {
            Lane(name, self.venue, timeframe): BasketConfig(name, timeframe, minimum[name], roster)
            for name, roster in sorted(rosters.items())
            for timeframe in self._offered(self._everyone(roster))
        }

    @cached_property
    def dominance(self) -> dict[Lane, DominanceConfig]:
        """Dominance lanes, on each horizon that their samples can form."""
        drivers = self.config.drivers
        jumps = {"dom:BTC": drivers.btc_dominance_jump, "dom:USDT": drivers.usdt_dominance_jump}
        return {
            Lane(name, self.venue, timeframe): DominanceConfig(timeframe, jumps[name], drivers.dominance_jump_within_ms)
            for name, timeframes in self.manifest.dominance
            for timeframe in timeframes
            if timeframe in self._horizons
        }

    @cached_property
    def board(self) -> BoardConfig | None:
        """The drivers of the run; None without any."""
        btc = Series(self.venue, "BTC")
        offered: dict[str, list[Timeframe]] = {}
        for lane in (*self.indices, *self.dominance):
            offered.setdefault(lane.token, []).append(lane.timeframe)
        if btc in self.instruments:
            offered["BTC"] = list(self._offered(("BTC",)))
        slots = driver_slots(offered.items(), self._horizons)
        return BoardConfig(slots) if slots else None

    @cached_property
    def drivers(self) -> dict[Lane, str]:
        """Lanes that stand on the board, and the key of their slot."""
        slots = self.board.slots if self.board else ()
        return {Lane(slot.series, self.venue, slot.timeframe): slot.key for slot in slots}

    @cached_property
    def engines(self) -> frozenset[Lane]:
        """Lanes over which an engine runs: traded ones and drivers."""
        return frozenset({*self.traded, *self.drivers})

    @cached_property
    def accounts(self) -> dict[str, Account]:
        """Position kernels by key: one a lane, or one a token where blocks span its lanes."""
        shared = self.config.position.blocks.scope is BlockScope.ALL_TIMEFRAMES
        groups: dict[str, list[Lane]] = {}
        for lane in self.traded:
            groups.setdefault(lane.token if shared else str(lane), []).append(lane)
        paper = None if self.at_venue else self.config.paper
        commanded = self.manifest.logged
        return {key: Account(tuple(lanes), self.config.position, paper, commanded) for key, lanes in groups.items()}

    @cached_property
    def _account_of(self) -> dict[Lane, str]:
        return {lane: key for key, account in self.accounts.items() for lane in account.lanes}

    @cached_property
    def _lanes_of(self) -> dict[str, tuple[Lane, ...]]:
        return {token: tuple(lane for lane in self.traded if lane.token == token) for token in self.traded_tokens}

    @cached_property
    def traded_tokens(self) -> tuple[str, ...]:
        """Tokens with a position here."""
        return tuple(sorted({lane.token for lane in self.traded}))

    @cached_property
    def _members(self) -> dict[Lane, tuple[Lane, ...]]:
        """Which indices read a lane."""
        readers: dict[Lane, list[Lane]] = {}
        for index, basket in self.indices.items():
            for token in self._everyone(basket.roster):
                readers.setdefault(Lane(token, self.venue, index.timeframe), []).append(index)
        return {lane: tuple(found) for lane, found in readers.items()}

    @property
    def _horizons(self) -> tuple[Timeframe, ...]:
        return self.config.posture.horizons.timeframes

    @staticmethod
    def _everyone(roster: Iterable[Roster]) -> tuple[str, ...]:
        return tuple(sorted({token for part in roster for token in part.tokens}))

    def _offered(self, tokens: Iterable[str]) -> tuple[Timeframe, ...]:
        """Horizons that the sources of all these tokens on the drivers' venue can serve."""
        coarsest = max(self.instruments[Series(self.venue, token)].source.rank for token in tokens)
        return tuple(timeframe for timeframe in self._horizons if timeframe.rank >= coarsest)

    def _bucket_schedule(self, token: str) -> tuple[tuple[int, str | None], ...]:
        if token in self.config.drivers.bucketless:
            return ()
        tags = sorted(tag for tag in self.manifest.buckets if tag.token == token)
        return tuple((tag.since_ms, tag.bucket) for tag in tags)

    def _rosters(self, members: tuple[str, ...]) -> dict[str, tuple[Roster, ...]]:
        """Members of each bucket from each re-tagging on: the largest by measure, ties by name."""
        bucketless = self.config.drivers.bucketless
        tags = sorted(
            (tag for tag in self.manifest.buckets if tag.token in members and tag.token not in bucketless),
            key=lambda tag: tag.since_ms,
        )
        current: dict[str, BucketTag] = {}
        rosters: dict[str, list[Roster]] = {}
        for position, tag in enumerate(tags):
            current[tag.token] = tag
            if position + 1 < len(tags) and tags[position + 1].since_ms == tag.since_ms:
                continue
            for bucket in sorted({one.bucket for one in tags}):
                inside = sorted((-one.measure_usd, one.token) for one in current.values() if one.bucket == bucket)
                largest = tuple(sorted(token for _, token in inside[: self.config.drivers.bucket_largest]))
                rosters.setdefault(bucket, []).append(Roster(tag.since_ms, largest))
        minimum = self.config.drivers.bucket_minimum
        return {
            bucket: tuple(found)
            for bucket, found in rosters.items()
            if max(len(roster.tokens) for roster in found) >= minimum
        }

    # configurations by key, each made once: kernels remember what they derive from one

    @cached_property
    def rollups(self) -> dict[Series, RollupConfig]:
        """Roll-up of every series."""
        return {one: RollupConfig(instrument.source) for one, instrument in self.instruments.items()}

    @cached_property
    def postures(self) -> dict[Lane, Posture]:
        """Posture of every traded lane."""
        slots = self.board.slots if self.board else ()
        return {
            lane: Posture(lane.timeframe, self.config.posture, slots, schedule)
            for lane, schedule in self.traded.items()
        }

    def bar_config(self, _series: Series) -> BarConfig:
        """Of the ticks of a series."""
        return self.config.bar

    def mend_config(self, _series: Series) -> MendConfig:
        """Of the candles of a series."""
        return self._mending

    @cached_property
    def _mending(self) -> MendConfig:
        return MendConfig(self.config.bar)

    def grid_config(self, lane: Lane) -> GridConfig:
        """Of the bucket grid of a lane."""
        return _GRIDS[lane.timeframe]

    def engine_config(self, lane: Lane) -> Engine:
        """Of the engine over a lane."""
        return self._engine_by_timeframe[lane.timeframe]

    @cached_property
    def _engine_by_timeframe(self) -> dict[Timeframe, Engine]:
        return {timeframe: Engine(timeframe, self.config.trend) for timeframe in TIMEFRAMES}

    def board_config(self, _key: str) -> BoardConfig:
        """Of the driver board."""
        assert self.board is not None, "nothing reaches the board of a run without drivers"
        return self.board

    # routes: where an output goes

    def to_rollup(self, item: tuple[Series, BarOutputs]) -> Iterator[tuple[Series, Raw]]:
        """Minutes built from ticks are rolled up like recorded ones."""
        yield item[0], Raw(item[1].bars)

    def to_mending(
        self, item: tuple[Series, BarOutputs | Patches]
    ) -> Iterator[tuple[Series, tuple[BarOutputs | Patches, ...]]]:
        """Minutes built from ticks meet what the input log says about them; other feeds say nothing."""
        if self.manifest.logged:
            yield item[0], (item[1],)

    def to_grid(
        self, item: tuple[Series, tuple[tuple[Timeframe, Chunk[Bars]], ...]]
    ) -> Iterator[tuple[Lane, Chunk[Bars]]]:
        """Every timeframe of a series has its own grid."""
        series, rolled = item
        for timeframe, chunk in rolled:
            yield Lane(series.token, series.venue, timeframe), chunk

    def to_baskets(self, item: tuple[Lane, Chunk[Bars]]) -> Iterator[tuple[Lane, tuple[tuple[str, Chunk[Bars]], ...]]]:
        """Records of a member go to every index that ever counts it."""
        lane, chunk = item
        for index in self._members.get(lane, ()):
            yield index, ((lane.token, chunk),)

    def to_dominance(self, item: tuple[str, Chunk[Samples]]) -> Iterator[tuple[Lane, Chunk[Samples]]]:
        """Samples form bars on every horizon that they can serve."""
        name, chunk = item
        for lane in self.dominance:
            if lane.token == name:
                yield lane, chunk

    def to_letters(self, item: tuple[Lane, DominanceOutputs]) -> Iterator[tuple[Lane, DominanceOutputs]]:
        """Every horizon refuses the same samples; the finest one says so."""
        lane = item[0]
        if lane == min((one for one in self.dominance if one.token == lane.token), key=lambda one: one.timeframe.rank):
            yield item

    def to_driver_grid(self, item: tuple[Lane, DominanceOutputs]) -> Iterator[tuple[Lane, Chunk[Bars]]]:
        """Dominance bars that end before the first live row are warm-up."""
        lane, outputs = item
        bars = outputs.bars.rows
        warm_up = bars.ts + lane.timeframe.ms <= self.manifest.start_ms
        yield lane, replace(outputs.bars, rows=replace(bars, history=warm_up))

    def to_engine(self, item: tuple[Lane, Chunk[Bars]]) -> Iterator[tuple[Lane, Chunk[Bars]]]:
        """Records of lanes that somebody trades or reads."""
        if item[0] in self.engines:
            yield item

    def to_driver_engine(self, item: tuple[Lane, Chunk[Bars]]) -> Iterator[tuple[Lane, Chunk[Bars]]]:
        """Records of lanes that stand on the board."""
        if item[0] in self.drivers:
            yield item

    def to_index(self, item: tuple[Lane, R]) -> Iterator[tuple[Lane, R]]:
        """What belongs to no instrument: indices and dominance."""
        if item[0].series not in self.instruments:
            yield item

    def to_board(self, item: tuple[Lane, Chunk[Trend]]) -> Iterator[tuple[str, tuple[tuple[str, Chunk[Trend]], ...]]]:
        """Engine records of drivers go on the board."""
        lane, chunk = item
        if lane in self.drivers:
            yield BOARD, ((self.drivers[lane], chunk),)

    def to_posture(self, item: tuple[Lane, Chunk[Trend]]) -> Iterator[tuple[Lane, tuple[tuple[str, Chunk[Any]], ...]]]:
        """Engine records of traded lanes wait for the board."""
        lane, chunk = item
        if lane in self.traded:
            yield lane, (("trend", chunk),)

    def to_postures(self, item: tuple[str, Chunk[Board]]) -> Iterator[tuple[Lane, tuple[tuple[str, Chunk[Any]], ...]]]:
        """The board is read by every traded lane."""
        for lane in self.traded:
            yield lane, (("board", item[1]),)

    def to_position(
        self, item: tuple[Lane, Chunk[Scenes]]
    ) -> Iterator[tuple[str, tuple[tuple[Lane, Chunk[Scenes]], ...]]]:
        """Scenes go to the account of their lane."""
        lane, chunk = item
        yield self._account_of[lane], ((lane, chunk),)

    def to_execution(
        self, item: tuple[Lane, Chunk[Executions]]
    ) -> Iterator[tuple[str, tuple[tuple[Lane, Chunk[Executions]], ...]]]:
        """Reports of the venue go to the account of their lane."""
        lane, chunk = item
        yield self._account_of[lane], ((lane, chunk),)

    def to_command(
        self, item: tuple[str, Chunk[Commands]]
    ) -> Iterator[tuple[str, tuple[tuple[Lane, Chunk[Commands]], ...]]]:
        """Commands go to every lane of their token."""
        token, chunk = item
        if self.manifest.logged:
            for lane in self._lanes_of.get(token, ()):
                yield self._account_of[lane], ((lane, chunk),)

    def to_scene_posture(
        self, item: tuple[Lane, Chunk[Postures]]
    ) -> Iterator[tuple[Lane, tuple[tuple[str, Chunk[Any]], ...]]]:
        """The posture that another flow wrote meets its engine records."""
        lane, chunk = item
        if lane in self.traded:
            yield lane, (("posture", chunk),)
