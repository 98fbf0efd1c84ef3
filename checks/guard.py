"""AWS Control Tower's rules on a template after SAM's transform, by cfn-guard: `python -m checks.guard TEMPLATE`.

The registry of Guard rules is only on GitHub; these, and cfn-guard itself, AWS ships within a package of its CDK. As in
the registry, a rule is not asked of resources that name it in `Metadata: {guard: {SuppressedRules: [...]}}`.
"""

import json
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

_SYSTEMS = {"Linux": "ubuntu", "Darwin": "macos"}
_MACHINES = {"arm64": "aarch64"}
_BINARY = f"bin/{_SYSTEMS.get(platform.system())}/{_MACHINES.get(platform.machine(), platform.machine())}/cfn-guard"
_FAILED = 19


def failures(report: dict[str, Any], resources: dict[str, Any]) -> dict[str, list[str]]:
    """What each rule that failed in cfn-guard's *report* says, with the *resources* that it is still asked of."""
    found = {}
    for rule in (failed["Rule"] for failed in report["not_compliant"]):
        paths = re.findall(r"/Resources/(\w+)", json.dumps(rule))
        names = [name for name in dict.fromkeys(paths) if rule["name"] not in _suppressed(resources[name])]
        if names or not paths:
            found["\n".join([rule["name"], *_messages(rule)])] = names
    return found


def _suppressed(resource: dict[str, Any]) -> list[str]:
    return list(resource.get("Metadata", {}).get("guard", {}).get("SuppressedRules", []))


def _messages(part: Any) -> Iterator[str]:  # noqa: ANN401 - any part of a report
    if isinstance(part, list):
        for element in part:
            yield from _messages(element)
    elif isinstance(part, dict):
        if message := (part.get("custom_message") or "").strip():
            yield message
            return
        for element in part.values():
            yield from _messages(element)


def _checked(template: str, types: set[str]) -> dict[str, Any] | None:
    """The report on *template*, by the rules for resources of *types*; None where there is no cfn-guard."""
    rules = []
    (package,) = (file for file in metadata.files("cdklabs-cdk-validator-cfnguard") or [] if file.suffix == ".tgz")
    with tempfile.TemporaryDirectory() as folder, tarfile.open(str(package.locate())) as archive:
        program = Path(folder) / "cfn-guard"
        for member in archive:
            content = archive.extractfile(member)
            if content and member.name.endswith(_BINARY):
                program.write_bytes(content.read())
            elif content and member.name.endswith(".guard"):
                rules.append(content.read().decode())
        if not program.exists():
            return None
        program.chmod(0o700)
        # All of them would take five times as long.
        meant = [rule for rule in rules if any(f'"{kind}"' in rule for kind in types)]
        done = subprocess.run(
            [program, "validate", "--payload", "--structured", "--output-format", "json", "--show-summary", "none"],
            input=json.dumps({"rules": meant, "data": [template]}),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode not in {0, _FAILED}:
        raise SystemExit(f"cfn-guard: {done.stderr}")
    (report,) = json.loads(done.stdout)
    return dict(report)


def main(template: Path) -> int:
    """Prints what failed, and gives the exit code."""
    resources = json.loads(template.read_text())["Resources"]
    report = _checked(template.read_text(), {str(resource["Type"]) for resource in resources.values()})
    if report is None:
        print(f"cfn-guard: skipped, there is none for {platform.system()} on {platform.machine()}")
        return 0
    found = failures(report, resources)
    for rule, names in found.items():
        print(f"{rule}\n  {', '.join(names)}\n")
    passed = len(report["compliant"])
    print(f"cfn-guard: {passed} rules passed, {len(found)} failed")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
