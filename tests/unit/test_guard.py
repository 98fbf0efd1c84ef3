"""Which failures of Control Tower's rules make lint goes on about."""

from typing import Any

from checks.guard import failures

REPORT: dict[str, Any] = {
    "not_compliant": [
        {
            "Rule": {
                "name": "inside_vpc",
                "messages": {"custom_message": None},
                "checks": [
                    {
                        "Rule": {
                            "name": "check",
                            "messages": {"custom_message": "\n   Require a VPC\n  "},
                            "checks": [{"path": f"/Resources/{name}/Properties"} for name in ("Ask", "Tell", "Ask")],
                        }
                    }
                ],
            }
        }
    ]
}
EXCUSED = {"Metadata": {"guard": {"SuppressedRules": ["inside_vpc"]}}}


def test_a_rule_is_told_with_the_resources_that_break_it() -> None:
    assert failures(REPORT, {"Ask": {}, "Tell": {}}) == {"inside_vpc\nRequire a VPC": ["Ask", "Tell"]}


def test_a_resource_that_suppresses_a_rule_does_not_break_it() -> None:
    assert failures(REPORT, {"Ask": {}, "Tell": EXCUSED}) == {"inside_vpc\nRequire a VPC": ["Ask"]}
    assert failures(REPORT, {"Ask": EXCUSED, "Tell": EXCUSED}) == {}


def test_a_rule_about_the_whole_template_cannot_be_suppressed_by_a_resource() -> None:
    whole = {"not_compliant": [{"Rule": {"name": "whole", "checks": []}}]}
    assert failures(whole, {"Ask": EXCUSED}) == {"whole": []}
