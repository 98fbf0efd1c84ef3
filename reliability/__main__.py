"""The command behind `make load`."""

import argparse
import json
import sys

from local.environment import ROOT
from local.failure import Failure
from reliability import load


def main() -> int:
    """Runs the command; the exit status is 1 after a `Failure` and where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m reliability", description=__doc__)
    parser.add_argument("part", choices=["load"])
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--users", type=int, default=12)
    options = parser.parse_args()
    try:
        found = load.measure(options.seconds, options.users)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    folder = ROOT / ".local"
    folder.mkdir(exist_ok=True)
    (folder / "load.json").write_text(json.dumps(found, indent=1) + "\n")
    load.plot(found, folder / "load.png")
    print(load.table(found))
    for target in load.targets(found):
        print(target)
    return 0 if all(enough for _, _, enough in load.targets(found)) else 1


if __name__ == "__main__":
    sys.exit(main())
