"""What determines the rows of a replay makes it another run."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from connectors.inputs import Inputs, TicksFile
from connectors.postgres.connection import connect
from connectors.postgres.migrate import migrate
from connectors.postgres.run import AnotherRunError, begin
from connectors.settings import load_settings
from flows.session import Request, describe, identity_digest, run_row
from lotus.timeframe import Timeframe
from tests.flows.trades import trades


def test_a_series_that_may_go_on_is_another_run_than_one_that_ends(database: str, tmp_path: Path) -> None:
    path = tmp_path / "ticks.parquet"
    pq.write_table(trades("PEPE", 60), path)
    inputs = Inputs(ticks=(TicksFile("venue", path),))
    ended = Request(inputs, load_settings(None, {}), (Timeframe.M1,), run_id="named")
    endless = replace(ended, inputs=replace(inputs, open_ended=True))
    assert identity_digest(describe(ended)) != identity_digest(describe(endless))
    with connect(database) as connection:
        migrate(connection)
        begin(connection, run_row(ended))
        begin(connection, run_row(ended))
        with pytest.raises(AnotherRunError, match="inputs"):
            begin(connection, run_row(endless))
