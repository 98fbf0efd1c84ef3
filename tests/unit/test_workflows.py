"""The workflows deploy the environments of samconfig.toml by OIDC, on GitHub Enterprise Server too."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.template import ROOT, TEMPLATE

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
DEPLOYMENT = "./.github/workflows/deploy.yml"
SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "samconfig.toml").read_text())
ENVIRONMENTS = sorted(SETTINGS.keys() - {"version"})


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_needs_no_github_com(workflow: Path) -> None:
    text = workflow.read_text()
    # GitHub Enterprise Server has neither paths that begin with $/, nor GitHub's runners.
    assert "github.com" not in text
    assert "uses: $/" not in text
    jobs = yaml_parse(text)["jobs"].values()
    assert {job["runs-on"] for job in jobs if "uses" not in job} <= {"${{ vars.RUNNER || 'ubuntu-24.04' }}"}


def test_jobs_deploy_environments_of_samconfig_with_their_own_role() -> None:
    jobs = yaml_parse((ROOT / ".github/workflows/ci.yml").read_text())["jobs"].values()
    deployments = [job for job in jobs if job.get("uses") == DEPLOYMENT]
    assert [job["with"]["environment"] for job in deployments] == ["staging", "production"]
    for job in deployments:
        name = job["with"]["environment"]
        assert name in ENVIRONMENTS
        assert job["with"]["role"] == f"${{{{ vars.{name.upper()}_ROLE_ARN }}}}"
        assert job["permissions"] == {"contents": "read", "id-token": "write"}


def test_deployment_gets_credentials_by_oidc_after_the_build() -> None:
    (job,) = yaml_parse((ROOT / DEPLOYMENT).read_text())["jobs"].values()
    assert (job["environment"], job["permissions"]["id-token"]) == ("${{ inputs.environment }}", "write")
    steps = [step.get("uses", step.get("run")).partition("@")[0] for step in job["steps"]]
    build, credentials = steps.index("sam build"), steps.index("aws-actions/configure-aws-credentials")
    assert build < credentials == len(steps) - 2
    assert job["steps"][credentials]["with"].keys() == {"aws-region", "role-to-assume"}
    assert steps[-1].startswith('sam deploy --config-env "$ENVIRONMENT"')


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_environment_is_deployed_without_questions(environment: str) -> None:
    settings = SETTINGS[environment]["deploy"]["parameters"]
    assert {"stack_name", "capabilities", "resolve_s3"} <= settings.keys()
    assert "guided" not in settings
    overrides = dict(override.split("=", 1) for override in settings.get("parameter_overrides", []))
    for name, value in overrides.items():
        assert str(TEMPLATE["Parameters"][name]["Default"]) != value


def test_environments_are_stacks_of_their_own_and_explained() -> None:
    names = {name: SETTINGS[name]["deploy"]["parameters"]["stack_name"] for name in ENVIRONMENTS}
    # The emulator's is in no account.
    del names["local"]
    assert len(set(names.values())) == len(names)
    text = (ROOT / "samconfig.toml").read_text()
    for name in ENVIRONMENTS:
        assert f"\n# {name}: " in text.partition(f"[{name}.deploy.parameters]")[0]
