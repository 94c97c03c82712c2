"""The market of a deployment as a plan: its instruments, its drivers, its warm-up rows."""

from collections.abc import Mapping
from pathlib import Path

from connectors.inputs import HistoryFile, Inputs
from connectors.live import LiveConfig, Share
from connectors.parquet import read_buckets
from connectors.recordings import read_history
from connectors.tape import warm_up_bars
from lotus.config import Config
from lotus.feed import Instrument, Manifest, Slice
from lotus.kernel import NEVER_MS, Chunk, Series
from lotus.plan import Plan
from lotus.records import Bars
from lotus.rollup import Raw
from lotus.timeframe import TIMEFRAMES, Timeframe
from schemas.partition import partition_of

UNENDING = 2**31


def manifest_of(live: LiveConfig, start_ms: int) -> Manifest:
    """What the input log will deliver.

    start_ms  start of the run's first minute: dominance bars that end before it are warm-up
    raises    InputError when the buckets cannot be read
    """
    sampled = tuple(timeframe for timeframe in TIMEFRAMES if timeframe.ms >= live.dominance_every_ms)
    return Manifest(
        instruments=tuple(
            Instrument(Series(live.venue, token), Timeframe.M1, ticks=True) for token in sorted(live.tokens)
        ),
        dominance=tuple((asset, sampled) for asset in sorted(live.dominance)),
        buckets=read_buckets(Path(live.buckets)) if live.buckets else (),
        start_ms=start_ms,
        end_ms=NEVER_MS,
        slices=UNENDING,
        logged=True,
    )


def owned_tokens(live: LiveConfig, share: Share) -> frozenset[str]:
    """The tokens whose partition belongs to the share."""
    partitions = frozenset(share.partitions(live.partitions))
    return frozenset(token for token in live.tokens if partition_of(token, live.partitions) in partitions)


def plan_of(config: Config, live: LiveConfig, start_ms: int, share: Share | None = None) -> Plan:
    """The plan of a share; None: of everything, as a replay runs it."""
    owned = None if share is None or share.whole else owned_tokens(live, share)
    return Plan(config, manifest_of(live, start_ms), live.timeframes, owned, live.at_venue)


def warm_up(live: LiveConfig, plan: Plan) -> Slice | None:
    """The slice that comes before the first message: history of the owned series, cut at the start of the run.

    raises  InputError when a file cannot be used
    """
    if not live.history:
        return None
    files = tuple(HistoryFile.parse(text) for text in live.history)
    starts = dict.fromkeys(plan.instruments, plan.manifest.start_ms)
    found: Mapping[Series, tuple[tuple[Timeframe, Bars], ...]] = {
        series: warm_up_bars(parts) for series, parts in read_history(Inputs(history=files), starts).items()
    }
    none = Chunk(Bars.empty(), -1)
    return Slice(
        raw=tuple((series, Raw(none, rows)) for series, rows in sorted(found.items()) if plan.owns(series.token))
    )
