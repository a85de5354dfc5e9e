"""How soon a surge is found, and how often a false alarm is raised: one curve, from one seed.

``python -m bench.anomaly`` replays jobs of simulated agents through the shipped detector
(`cryogate.governance.profiles`), for several thresholds:

- **delay**: each agent is known for a month; then all its jobs have four times the shots, and cost
  accordingly. How many jobs until an alarm?
- **false alarms**: months of jobs without any surge, after the warm-up. How many alarms of either
  series per agent and month?
- **the replay**: 10,000 jobs of ten agents in one log, a surge in each. Must all be found within
  15 jobs, without a false alarm.

The agents: a quarter always ask for the same, a third choose among half, once and twice their
usual, the others vary log-normally with a spread between 0.3 and 0.8. Half of all agents ask in
one job of 200 for twenty times as much: that is no surge. A month is 1,000 jobs. An agent with a
wider spread is found later: the last table says how much.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import exp

from cryogate.governance.surge import ALARM, FACTOR, WARM_UP, Series

MONTH = 1000
WITHIN = 15
MOST_FALSE = 0.02
THRESHOLDS = (6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0)
SPREADS = (0.3, 0.5, 0.8, 1.0, 1.2)
Shots = Callable[[], int]


def agent(rng: random.Random, spread: float | None = None) -> Shots:
    """An agent's shots, job by job."""
    usual, kind, odd = rng.choice((100, 500, 1000, 4000)), rng.random(), rng.random() < 0.5
    width = rng.uniform(0.3, 0.8) if spread is None else spread
    menu = (usual // 2, usual, usual, usual * 2)

    def shots() -> int:
        if spread is None and kind < 0.25:
            asked = usual
        elif spread is None and kind < 0.55:
            asked = rng.choice(menu)
        else:
            asked = max(1, round(usual * exp(rng.gauss(0.0, width))))
        return asked * 20 if odd and rng.random() < 1 / 200 else asked

    return shots


@dataclass
class Watched:
    """The two series of one agent. A job costs 30 cents, and 8 for every hundred shots."""

    alarm: float
    shots: Series
    cents: Series

    @classmethod
    def new(cls, alarm: float) -> Watched:
        return cls(alarm, Series(), Series())

    def see(self, shots: int) -> bool:
        """Whether this job raises an alarm, of either series."""
        one = self.shots.add(shots, alarm=self.alarm)
        return self.cents.add(30 + shots * 8 // 100, alarm=self.alarm) or one


def agents(
    seed: int, count: int, spread: float | None = None
) -> Iterator[tuple[random.Random, Shots]]:
    for n in range(count):
        rng = random.Random(f"{seed}/{n}")
        yield rng, agent(rng, spread)


def delays(alarm: float, count: int, seed: int, spread: float | None = None) -> list[int]:
    """Jobs from the beginning of each agent's surge to its alarm."""
    found = []
    for rng, shots in agents(seed, count, spread):
        watched = Watched.new(alarm)
        for _ in range(MONTH + rng.randrange(MONTH)):
            watched.see(shots())
        jobs = 1
        while not watched.see(round(FACTOR * shots())) and jobs < MONTH:
            jobs += 1
        found.append(jobs)
    return sorted(found)


def false_alarms(alarm: float, months: int, seed: int) -> float:
    """Alarms per agent and month without a surge; each agent is watched for three months."""
    raised = 0
    for _, shots in agents(seed, months // 3):
        watched = Watched.new(alarm)
        for _ in range(WARM_UP):
            watched.see(shots())
        raised += sum(watched.see(shots()) for _ in range(3 * MONTH))
    return raised / (months // 3 * 3)


def replay(
    seed: int, alarm: float = ALARM, jobs: int = 10_000, crowd: int = 10
) -> tuple[list[int], int]:
    """One log of interleaved agents; from its 700th job on each surges. Delays, false alarms."""
    made = [shots for _, shots in agents(seed, crowd)]
    watched = [Watched.new(alarm) for _ in made]
    done, found, false = [0] * crowd, [0] * crowd, 0
    order = random.Random(seed)
    for _ in range(jobs):
        n = order.randrange(crowd)
        done[n] += 1
        surging = done[n] > 700
        shots = made[n]()
        if watched[n].see(round(FACTOR * shots) if surging else shots):
            if not surging:
                false += 1
            elif not found[n]:
                found[n] = done[n] - 700
    return [delay or MONTH for delay in found], false


def part(values: list[int], share: float) -> int:
    return values[min(len(values) - 1, int(len(values) * share))]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--months", type=int, default=1500)
    parser.add_argument("--agents", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    began = time.process_time()
    curve = []
    for alarm in THRESHOLDS:
        late = delays(alarm, given.agents, given.seed)
        curve.append(
            {
                "alarm": alarm,
                "false_per_agent_month": false_alarms(alarm, given.months, given.seed),
                "p50": part(late, 0.5), "p90": part(late, 0.9), "p99": part(late, 0.99),
                "within": sum(d <= WITHIN for d in late) / len(late),
            }
        )  # fmt: skip
    spreads = []
    for spread in SPREADS:
        late = delays(ALARM, given.agents // 4, given.seed, spread)
        spreads.append({"spread": spread, "p50": part(late, 0.5), "p90": part(late, 0.9)})
    found, false = replay(given.seed)
    took = time.process_time() - began
    if given.json:
        print(json.dumps({"curve": curve, "spreads": spreads, "replay": found, "false": false}))
    else:
        print(f"surge x{FACTOR:g}, {given.agents} agents; {given.months} agent-months without one")
        print(
            "| threshold | false alarms per agent-month | delay p50 | p90 | p99 | within 15 jobs |"
        )
        print("|---|---|---|---|---|---|")
        for row in curve:
            mark = " (shipped)" if row["alarm"] == ALARM else ""
            print(f"| {row['alarm']:g}{mark} | {row['false_per_agent_month']:.4f} | {row['p50']} "
                  f"| {row['p90']} | {row['p99']} | {row['within']:.1%} |")  # fmt: skip
        print("\n| spread of log shots | delay p50 | p90 |\n|---|---|---|")
        for row in spreads:
            print(f"| {row['spread']} | {row['p50']} | {row['p90']} |")
        print(
            f"\nreplay of 10,000 jobs, seed {given.seed}: found after {found} jobs, {false} false"
        )
        print(f"CPU {took:.1f} s")
    shipped = next(row for row in curve if row["alarm"] == ALARM)
    good = max(found) <= WITHIN and not false and shipped["false_per_agent_month"] <= MOST_FALSE
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
