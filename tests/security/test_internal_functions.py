"""API5 and API6: users can neither call internal functions nor write to another user in a false name."""

import requests

from tests.security.attacks import BUSINESS_FLOWS, FUNCTION_AUTHORIZATION, RecordAttack, unchanged
from tests.stack import Client, Stack, leak_free_error, send_raw, wait_until


def test_user_cannot_call_event_functions(stack: Stack, kevin: Client, record_attack: RecordAttack) -> None:
    functions = ["receive_message", "purge_messages", "sweep_purges", "deliver_messages", "exercise_release"]
    names = ["ReceiveMessage", "PurgeMessages", "SweepPurges", "DeliverMessages"]
    paths = [
        *functions,
        *names,
        "events",
        "purge",
        "sweep",
        "admin",
        "conversations/purge",
        "messages/receive",
        "users",
    ]
    attempts = 0
    with unchanged(stack, kevin):
        for path in paths:
            for method in ("GET", "POST", "DELETE"):
                # conversations/purge and messages/receive reach a function, which finds that the id is malformed.
                response = send_raw(kevin, f"{method} /{path}")
                assert leak_free_error(response)[0] == 404, path
                attempts += 1
    for name in names:
        function = stack.function_name(name)
        url = f"http://127.0.0.1:{stack.port}/2015-03-31/functions/{function}/invocations"
        assert requests.post(url, json={}, timeout=30).status_code == 403
        attempts += 1
        assert stack.aws("lambda").list_function_url_configs(FunctionName=function)["FunctionUrlConfigs"] == []
    record_attack(FUNCTION_AUTHORIZATION, "event functions called by HTTP", "404, or 403 from Lambda", attempts)


def test_user_cannot_forge_sender_or_recipient(
    stack: Stack, kevin: Client, harry: Client, record_attack: RecordAttack
) -> None:
    conversation = kevin.create(contact_id=harry.user_id, group_id="friends")
    harry.create(contact_id=kevin.user_id, group_id="friends")
    body = {"conversation_id": conversation["id"], "message": "hello"}
    with unchanged(stack, harry):
        for forged in ({"contact": {"id": harry.user_id}}, {"contact_id": harry.user_id}, {"user_id": harry.user_id}):
            assert leak_free_error(kevin.send("POST", "/messages", json=body | forged))[0] == 400
    for _ in range(10):
        assert kevin.send_message(conversation)["contact"] is None
    assert wait_until(lambda: len(harry.messages(limit=100)["data"]) == 10)
    assert {message["contact"]["id"] for message in harry.messages(limit=100)["data"]} == {kevin.user_id}
    outcome = "400; what is delivered shows its real sender"
    record_attack(BUSINESS_FLOWS, "messages with a forged sender to another user", outcome, 13)
