"""C48: random lives of the pool, the ledger and the attempts, with crash and restore between random cuts."""

import numpy as np

from lotus.paper import PaperConfig
from tests.chaos.outcome import Outcome, Tally
from tests.chaos.stand import Stand
from tests.lotus.stage import DEFAULT, FREE
from tests.lotus.test_position_invariants import BARS, CURVE, KEEP, LOSSES, Bookkeeper, life, lived

CONFIGS = (DEFAULT, KEEP, CURVE, LOSSES)
PAPERS = (FREE, PaperConfig())
MOST_CUTS = 12


def lives(stand: Stand, seed: int, n: int) -> Outcome:
    """A bookkeeper who knows only the specification audits every bar; the crashed life has the bits of the whole."""
    del stand
    tally, fills = Tally(), 0
    while tally.n < n:
        number = tally.n // BARS
        dice = np.random.default_rng([seed, number])
        config, paper = CONFIGS[number % len(CONFIGS)], PAPERS[number // len(CONFIGS) % len(PAPERS)]
        cuts = [int(cut) for cut in dice.integers(1, BARS, int(dice.integers(1, MOST_CUTS)))]
        stage = life(seed * 1_000_000 + number)
        try:
            out, digest = lived(stage, config, paper, cuts, crash=True)
            Bookkeeper(config).audit(stage, out)
            assert digest == lived(stage, config, paper, [])[1], "crashes and cuts change bits"
            fills += len(out.fills)
        except AssertionError as error:
            tally.fail(f"life {number}, cuts {cuts}: {error}")
        tally.n += BARS
    return tally.outcome(
        "C48",
        seed,
        figure=f"{fills} fills in {tally.n} bars",
        bar="conservation, non-negativity, caps, replay = state",
        bar_met=fills > 0,
    )
