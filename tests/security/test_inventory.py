"""API9: the stack serves the documented paths and versions, and nothing else."""

import json

from tests.security.attacks import INVENTORY, NO_PATH, RecordAttack, Victim, unchanged
from tests.stack import Client, Stack, leak_free_error, send_raw
from tools.openapi import FILE


def test_deployed_routes_equal_documented_routes(stack: Stack, record_attack: RecordAttack) -> None:
    gateway, api_id = stack.aws("apigateway"), stack.outputs()["ApiId"]
    deployed = {
        (method, resource["path"])
        for resource in gateway.get_resources(restApiId=api_id, limit=500, embed=["methods"])["items"]
        for method in resource.get("resourceMethods", {})
        if method != "OPTIONS"
    }
    paths = json.loads(FILE.read_text())["paths"]
    documented = {
        (method.upper(), path) for path, methods in paths.items() for method in methods if method != "parameters"
    }
    # The reference page documents the other routes.
    assert deployed - documented == {("GET", "/docs"), ("GET", "/docs/{asset}")}
    assert documented <= deployed
    assert [stage["stageName"] for stage in gateway.get_stages(restApiId=api_id)["item"]] == ["v1"]
    outcome = "only those of openapi.json and the reference page"
    record_attack(INVENTORY, "undocumented routes and stages", outcome, len(deployed))


HIDDEN = """
openapi.json swagger swagger.json api-docs redoc graphql health healthz status metrics
admin debug actuator actuator/env console config env .env .git/config robots.txt
server-status phpinfo.php wp-login.php backup.zip v1 v2/conversations v1/conversations test
internal/conversations conversations.json conversations.bak conversation Conversations CONVERSATIONS
conversations;v=2 conversations%00 conversations%20 conversations/export conversations/x/messages
%2e%2e/conversations ../v1/conversations ..%2fconversations ./conversations users/harry/conversations
docs/../conversations docs/%2e%2e%2fapp.py docs/..%5capp.py docs/app.py docs/page.html%00 sandbox
2015-03-31/functions _aws/execute-api latest/meta-data conversations/search messages/export me
""".split()


def test_guessed_paths_are_not_found(kevin: Client, record_attack: RecordAttack) -> None:
    for path in HIDDEN:
        error = leak_free_error(send_raw(kevin, f"GET /{path}"))
        assert error in (NO_PATH, (404, "id: no such conversation"), (404, "id: no such message")), path
    attack = "guessed paths: consoles, backups, specifications, traversal"
    record_attack(INVENTORY, attack, "404", len(HIDDEN))


def test_path_variants_need_the_same_token(stack: Stack, victim: Victim, record_attack: RecordAttack) -> None:
    kate, id = victim.user, victim.conversation["id"]
    paths = [
        *("//conversations", "/conversations/", "///conversations//", "/conversations?", "/conversations#x"),
        *(f"/conversations/{id}/", f"/conversations%2f{id}", f"//conversations//{id}", f"/%63onversations/{id}"),
    ]
    with unchanged(stack, kate):
        for path in paths:
            for token in ("", "nonsense"):
                assert leak_free_error(send_raw(kate, f"GET {path}", token=token), id)[0] in (401, 404), path
            assert send_raw(kate, f"GET {path}").status_code in (200, 400, 404), path
    outcome = "401 without a token; with one, 404 or the response of the plain path"
    record_attack(INVENTORY, "double, trailing and encoded slashes, encoded letters", outcome, 3 * len(paths))


STAGES = ["v2", "V1", "v0", "v1beta", "prod", "Prod", "Stage", "dev", "test", "$default", "v1%20", "", "v1.", "*"]


def test_other_stages_are_forbidden(stack: Stack, kevin: Client, record_attack: RecordAttack) -> None:
    root = stack.api_url.removesuffix("/v1")
    for stage in STAGES:
        other = Client(f"{root}/{stage}", kevin.token)
        response = send_raw(other, "GET /conversations")
        # API Gateway's own error body: gateway responses belong to a stage.
        assert (response.status_code, response.json()) == (403, {"message": "Forbidden"}), stage
        other.close()
    record_attack(INVENTORY, "other versions and stages", "403 from API Gateway, before any function", len(STAGES))
