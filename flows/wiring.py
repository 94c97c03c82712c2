"""What each live flow reads and writes: its inlets, its routes, the names of its topics."""

from collections.abc import Callable, Mapping
from typing import Protocol

from bytewax.dataflow import Dataflow

from connectors.avro.framing import Framing
from connectors.kafka.chunks import BARS, BOARD, POSTURES, TREND, ChunkConfig, ChunkReader, Kind
from connectors.kafka.inlet import Inlet
from connectors.kafka.input_log import COMMAND, EXECUTION, NOUNS, SAMPLE, TICK, InputConfig, InputReader
from connectors.live import LiveConfig, Share
from connectors.routing import DRIVERS
from connectors.topics import topics
from flows import bars, decisions, drivers, fused, hot, posture, trend
from flows.stages import Sink, Source
from lotus.kernel import Series
from lotus.plan import Plan

INPUT_LOG = "md.ticks.v1"
ORDERS = frozenset({EXECUTION, COMMAND})


class Build(Protocol):
    """The `build` of a flow file."""

    def __call__(self, plan: Plan, source: Source, *sinks: Sink) -> Dataflow:
        """Wire it."""
        ...


FLOWS: Mapping[str, Build] = {
    flow.FLOW_ID: flow.build for flow in (bars, drivers, trend, posture, decisions, hot, fused)
}
UNDIVIDED = frozenset({drivers.FLOW_ID, fused.FLOW_ID})  # they need all partitions


class Inlets:
    """Makes the inlets of one flow and share."""

    def __init__(self, live: LiveConfig, plan: Plan, share: Share, framing: Framing) -> None:
        """`plan` owns the tokens of the share."""
        self._live, self._plan, self._share, self._framing = live, plan, share, framing

    def of(self, flow: str) -> tuple[Inlet, ...]:
        """The inlets of a flow, the input log first."""
        makers: Mapping[str, tuple[Callable[[], Inlet], ...]] = {
            bars.FLOW_ID: (lambda: self._log(NOUNS),),
            drivers.FLOW_ID: (lambda: self._log(frozenset({SAMPLE})), lambda: self._chunks("md.bars.v1", BARS)),
            trend.FLOW_ID: (lambda: self._chunks("md.bars.v1", BARS),),
            posture.FLOW_ID: (lambda: self._chunks("md.trend.v1", TREND), self._board),
            decisions.FLOW_ID: (
                lambda: self._log(ORDERS),
                lambda: self._chunks("md.trend.v1", TREND),
                lambda: self._chunks("pm.posture.v1", POSTURES),
            ),
            hot.FLOW_ID: (lambda: self._log(NOUNS), self._board),
            fused.FLOW_ID: (lambda: self._log(NOUNS),),
        }
        return tuple(make() for make in makers[flow])

    def _log(self, nouns: frozenset[str]) -> Inlet:
        """The input log; who reads all of it writes down what is refused there, whatever it uses itself."""
        live, plan = self._live, self._plan
        takes_ticks, takes_samples = TICK in nouns, SAMPLE in nouns
        owned: tuple[Series, ...] = tuple(series for series in sorted(plan.instruments) if plan.owns(series.token))
        config = InputConfig(
            self._name(INPUT_LOG),
            live.partitions,
            live.sources,
            self._share.partitions(live.partitions),
            series=owned if takes_ticks else (),
            assets=tuple(sorted({lane.token for lane in plan.dominance})) if takes_samples else (),
            lanes=tuple(plan.traded) if EXECUTION in nouns and live.at_venue else (),
            tokens=plan.traded_tokens if COMMAND in nouns else (),
            nouns=nouns,
            bar=plan.config.bar,
        )
        return InputReader(config, self._framing)

    def _chunks(self, topic: str, kind: Kind) -> Inlet:
        live = self._live
        lanes = self._plan.bar_lanes if kind is BARS else tuple(self._plan.traded)
        partitions = self._share.partitions(live.partitions)
        return ChunkReader(
            ChunkConfig(self._name(topic), kind, live.partitions, live.run, partitions, lanes), self._framing
        )

    def _board(self) -> Inlet:
        return ChunkReader(ChunkConfig(self._name(DRIVERS), BOARD, 1, self._live.run), self._framing)

    def _name(self, topic: str) -> str:
        return topics()[topic].full_name(self._live.topic_prefix)
