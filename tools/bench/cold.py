"""Cold starts: the CPU time from the import of a function to its first response."""

import random

from tools.bench import processes, report, samples
from tools.bench.targets import NAMES, OURS

TITLE = "Cold start, CPU time with the network stubbed"

_ROUNDS, _QUICK_ROUNDS = 9, 1
_TARGET = 0.9
CONDITION = "CPU time, network stubbed, mean of five endpoints"

_TEXT = """\
CPU time of a fresh process from just before `import app` to its first response. DynamoDB is stubbed below botocore, so
sockets, TLS and the start of Python are not in it. The *baseline* is a handler of boto3 and json that validates
nothing. Each framework serves the same five endpoints from one function, with boto3's low-level client; all are
compiled to bytecode, as this service is. Powertools (with its Logger and Metrics) and FastAPI validate requests by
Pydantic models. This service also does forms, filters, conditional requests, idempotency keys and `Link` headers, and
its delete is a transaction that records the messages to purge."""


def measure(run: report.Run) -> report.Section:
    """Measures fresh processes in random order, so that a busy moment of the machine affects all targets."""
    rounds = _QUICK_ROUNDS if run.quick else _ROUNDS
    pairs = [(target, endpoint) for target in NAMES for endpoint in samples.ENDPOINTS]
    taken = report.samples(NAMES)
    task = run.progress.add_task("cold starts", total=rounds * len(pairs))
    for _ in range(rounds):
        random.shuffle(pairs)
        for target, endpoint in pairs:
            with processes.worker(target, endpoint) as call:
                taken[target][endpoint].append(call()["cpu"] * 1000)
            run.progress.advance(task)
    figures = report.medians(taken)
    goals = [report.at_most("cold start / baseline", CONDITION, _TARGET, report.mean_ratio(figures, OURS))]
    run.figures["cold"] = figures
    return "\n\n".join([_TEXT, report.spread(taken), report.ratio_table({"": figures}, "ms")]), goals
