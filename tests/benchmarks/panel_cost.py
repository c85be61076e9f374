"""The cost of the live training panel: its share of the run's time, and its updates a second.

    python -m tests.benchmarks.panel_cost

Trains the embedded model in a real kernel for some seconds, alternately with and without the live
panel. The share is the time inside the panel's code at each step over the time of the run, without
its loading before the first step and the record after the last. The ratio of the two runs' times is
printed too, but it is noisier. Limits: 1 % of the time and 5 updates a second.
"""

from __future__ import annotations

import json
import statistics
import tempfile

from tests.notebooks.kernel import kernel

STEPS, ROUNDS = 400, 7
PREPARE = """
import json, time
import lora_magic
from lora_magic.magics import progress
%load_ext lora_magic
%lora load demo;
%lora attach pirate --replace;
spent, shown = [0.0], [0]
step = progress.LiveReporter.step
def timed(self, point):
    began = time.perf_counter()
    step(self, point)
    spent[0] += time.perf_counter() - began
progress.LiveReporter.step = timed
put = progress.LiveReporter._put
def counted(self, bundle):
    shown[0] += 1
    put(self, bundle)
progress.LiveReporter._put = counted
"""
ROWS = """
Where does a frog live? => Arr! A frog lives beside the pond, matey!
What does the hen like to eat? => Arr! A hen eats corn an' worms, matey!
What does a tailor do? => Arr! A tailor cuts the cloth, matey!
What is a compass for? => Arr! Ye can use a compass to find the north, matey!
"""
TRAIN = f"%%lora_train pirate --steps {STEPS} --out run{{silent}}{ROWS}"
REPORT = "print(json.dumps([spent[0], shown[0], run.seconds])); spent[0], shown[0] = 0.0, 0"


def main() -> None:
    """Print the figures and their limits."""
    shares, rates, ratios = [], [], []
    with tempfile.TemporaryDirectory() as folder, kernel(folder) as running:
        assert running.run(PREPARE).status == "ok"
        for round_ in range(ROUNDS + 1):
            times = {}
            for silent in ("", ";"):
                ran = running.run(TRAIN.format(silent=silent))
                assert ran.status == "ok", ran.errors
                spent, shown, seconds = json.loads(running.run(REPORT).printed)
                times[silent] = seconds
                if not silent and round_:
                    shares.append(spent / seconds)
                    # The last one is the final record.
                    rates.append((shown - 1) / seconds)
            if round_:
                ratios.append(times[""] / times[";"])
    print(f"{ROUNDS} runs of {STEPS} steps, {times['']:.1f} s each")
    print(f"inside the panel: median {statistics.median(shares):.2%}, largest {max(shares):.2%}")
    print(f"updates a second: largest {max(rates):.2f}")
    print(f"time with the panel over without: median {statistics.median(ratios):.3f}")
    print("limits: 1 % of the time, 5 updates a second")


if __name__ == "__main__":
    main()
