"""The real runtime: Lambda's runtime interface client under Lambda's emulator, with DynamoDB over TLS."""

import itertools
import json
import platform
import re
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import urllib3

from tools.bench import fake_dynamodb, processes, report, samples, targets
from tools.bench.targets import BASELINE, OURS, POWERTOOLS
from tools.local.environment import HOST, SAM, Failure

TITLE = "Cold start and warm call in Lambda's runtime with TLS"

MEMORY_MB = 512
_TARGETS = (BASELINE, POWERTOOLS, OURS)
_ROUNDS, _CALLS, _QUICK_CALLS = 3, 20, 5
_TARGET = 1.0
_PATH = "/2015-03-31/functions/function/invocations"
_UNTIL_READY = urllib3.Retry(total=None, connect=1500, backoff_factor=0.02, backoff_max=0.02)
# The client and its dependencies. Lambda has it outside of layer and function, too.
_CLIENT = ("awslambdaric", "runtime_client*", "simplejson", "snapshot_restore_py*")
_DONE = re.compile(r"INVOKE RTDONE\(status: success, .*?duration: ([\d.]+)ms\)")
_BILLED = re.compile(r"REPORT RequestId: .*?Billed Duration: (\d+) ms")

_TEXT = f"""\
Lambda's runtime interface client under its runtime interface emulator, without Docker and SnapStart. DynamoDB is faked
over TLS and responds after {fake_dynamodb.DELAY_SECONDS * 1000:g} ms; each target trusts the certificates that it is
deployed with. *Cold* is what is billed for init and the first call, *warm* the duration of a later call. Figures are
medians over the environments of each cell, {{rounds}}, and their warm calls, {{calls}} each."""
_QUOTA = f"""\
Lambda gives {MEMORY_MB} MB of memory {MEMORY_MB} / {processes.MB_OF_ONE_PROCESSOR} of a processor; a quota for each
20 ms limits it here. Init has no more than that here, though Lambda may give it more."""


class _Emulator(NamedTuple):
    """What an environment needs besides the function: two programs, a limit of its processor, and a log."""

    program: Path
    client: Path
    prefix: Sequence[str]
    log: Path


def measure(run: report.Run) -> report.Section:
    """Measures all five endpoints with a whole processor, and with that of 512 MB if processors can be limited."""
    rounds, calls = (1, _QUICK_CALLS) if run.quick else (_ROUNDS, _CALLS)
    text = [_TEXT.format(rounds=rounds, calls=calls)]
    goals: list[report.Goal] = []
    panels: dict[str, report.Figures] = {}
    with (
        tempfile.TemporaryDirectory() as name,
        fake_dynamodb.running() as network,
        processes.processor_share(MEMORY_MB) as limit,
    ):
        client = _client(Path(name))
        for processor, prefix in (("a whole processor", []), (f"the processor of {MEMORY_MB} MB", limit)):
            if prefix is None:
                text.append(f"The processor of {MEMORY_MB} MB was not measured: {processes.NO_PROCESSOR_SHARE}")
                continue
            emulator = _Emulator(_program(), client, prefix, Path(name) / "log")
            cold, warm, billed = (report.samples(_TARGETS) for _ in range(3))
            for _, endpoint, target in run.progress.track(
                list(itertools.product(range(rounds), samples.ENDPOINTS, _TARGETS)), description=processor
            ):
                durations, bills = _live(emulator, target, endpoint, network(target), 1 + calls)
                for figures, values in ((cold, bills[:1]), (warm, durations[1:]), (billed, bills[1:])):
                    figures[target][endpoint] += values
            run.figures["runtime"] = {endpoint: statistics.fmean(bills) for endpoint, bills in billed[OURS].items()}
            both = {"cold": report.medians(cold), "warm": report.medians(warm)}
            condition = f"Lambda's runtime with TLS and {processor}, mean of five endpoints"
            goals += [
                report.at_most(f"{name} / baseline", condition, _TARGET, report.mean_ratio(figures, OURS))
                for name, figures in zip(("cold start", "warm call"), both.values(), strict=True)
            ]
            panels[f"Warm call with TLS and {processor}"] = both["warm"]
            text += [f"With {processor}.{f' {_QUOTA}' if prefix else ''}", report.ratio_table(both, "ms")]
    text.append(report.bars(panels, "milliseconds", run.folder / "runtime.png"))
    return "\n\n".join(text), goals


def _program() -> Path:
    """Returns the emulator, which the SAM CLI contains."""
    architecture = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    pattern = f"lib/python3.*/site-packages/samcli/local/rapid/aws-lambda-rie-{architecture}"
    found = list(SAM.parent.parent.glob(pattern))
    if platform.system() != "Linux" or not found:
        raise report.Unmeasurable(f"Lambda's emulator does not run on {platform.system()} {platform.machine()}.")
    return found[0]


def _client(folder: Path) -> Path:
    """Returns a folder with the runtime interface client alone, for the end of the import path."""
    client = folder / "client"
    client.mkdir()
    for part in itertools.chain.from_iterable(map(targets.packages().glob, _CLIENT)):
        (client / part.name).symlink_to(part)
    return client


def _live(
    emulator: _Emulator, target: str, endpoint: str, network: Mapping[str, str], calls: int
) -> tuple[list[float], list[float]]:
    """Returns the durations and the billed durations of so many *calls* of a new environment, in milliseconds."""
    port, api_port = processes.free_port(), processes.free_port()
    environment = targets.environment([*targets.path(target, endpoint), emulator.client]) | dict(network)
    environment |= {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(MEMORY_MB), "AWS_LAMBDA_FUNCTION_TIMEOUT": "25"}
    addresses = [
        "--runtime-interface-emulator-address",
        f"{HOST}:{port}",
        "--runtime-api-address",
        f"{HOST}:{api_port}",
    ]
    function = [*emulator.prefix, str(targets.python()), "-m", "awslambdaric", "app.handler"]
    pool = urllib3.HTTPConnectionPool(HOST, port, timeout=30, retries=_UNTIL_READY)
    with (
        emulator.log.open("wb") as log,
        processes.running([emulator.program, *addresses, *function], environment, log, log),
    ):
        for _ in range(calls):
            try:
                response = pool.request("POST", _PATH, body=json.dumps(samples.event(endpoint))).json()
            except (urllib3.exceptions.HTTPError, ValueError) as error:
                raise Failure(f"{target} failed at {endpoint}: {error}. {emulator.log.read_text()[-1000:]}") from error
            if not samples.is_expected(endpoint, response):
                raise Failure(f"{target} gave a wrong response to {endpoint}: {json.dumps(response)[:500]}")
    pool.close()
    text = emulator.log.read_text(errors="replace")
    durations, billed = (list(map(float, pattern.findall(text))) for pattern in (_DONE, _BILLED))
    if not len(durations) == len(billed) == calls:
        raise Failure(f"Lambda's emulator reports {len(durations)} of {calls} calls.")
    return durations, billed
