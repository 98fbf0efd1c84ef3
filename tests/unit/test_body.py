"""Request bodies of every kind, sent to create_conversation."""

import base64

import pytest

from tests.handlers import FORM, JSON, call, event, invoke, list_conversations

pytestmark = pytest.mark.usefixtures("tables")

NAME = "contact_id: must be 1 to 128 characters without white space or control characters, or null"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (FORM, "contact_id=h%C3%A4rry%26co"),
        (FORM, "contact_id=h%C3%A4rry%26co&group_id="),
        ("Application/X-WWW-Form-URLencoded; charset=UTF-8", "contact_id=h%C3%A4rry%26co"),
        (JSON, '{"contact_id": "härry&co"}'),
        (JSON, '{"contact_id": "h\\u00e4rry&co", "group_id": null}'),
        ("application/json;charset=utf-8", '{"contact_id": "härry&co"}'),
    ],
)
@pytest.mark.parametrize("is_base64", [False, True])
def test_form_and_json_are_equivalent(content_type: str, body: str, is_base64: bool) -> None:
    request = event("create_conversation")
    del request["multiValueHeaders"]["Content-Type"]
    request["multiValueHeaders"]["CONTENT-type"] = [content_type]
    request["body"] = base64.b64encode(body.encode()).decode() if is_base64 else body
    request["isBase64Encoded"] = is_base64
    response = invoke("create_conversation", request)
    assert response.status == 201
    assert (response.body["contact_id"], response.body["group_id"]) == ("härry&co", None)
    assert list_conversations(user=request["requestContext"]["authorizer"]["claims"]["sub"]) == [response.body]


@pytest.mark.parametrize(
    "body",
    [
        "{",
        " ",
        "contact_id=harry",
        '{"contact_id": "harry",}',
        "nul",
        "NaN",
        '{"contact_id": Infinity}',
        "[" * 60_000,
        '{"a":' * 10_000,
        "1" * 5000,
        '{"contact_id": "a\nb"}',
        "\ufeff{}",
    ],
    ids=lambda body: body[:20],
)
def test_malformed_json_is_rejected(body: str) -> None:
    response = call("create_conversation", body=body, content_type=JSON)
    assert (response.status, response.message) == (400, 'body: must be well-formed JSON, such as {"is_pinned": true}')


@pytest.mark.parametrize("body", ["null", "[]", '["contact_id"]', '"contact_id"', "7", "true"])
def test_json_must_be_an_object(body: str) -> None:
    response = call("create_conversation", body=body, content_type=JSON)
    assert (response.status, response.message) == (400, 'body: must be a JSON object, such as {"is_pinned": true}')


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/xml", "multipart/form-data; boundary=x"])
def test_unsupported_media_type_is_rejected(content_type: str) -> None:
    response = call("create_conversation", body="contact_id=harry", content_type=content_type)
    assert response.status == 415
    assert response.message == "Content-Type: must be application/json or application/x-www-form-urlencoded"
    assert list_conversations() == []


@pytest.mark.parametrize("content_type", [FORM, JSON])
@pytest.mark.parametrize("charset", ["iso-8859-1", "windows-1252", "utf-16", '"latin1"'])
def test_charset_must_be_utf_8(content_type: str, charset: str) -> None:
    body = '{"contact_id": "harry"}' if content_type == JSON else "contact_id=harry"
    response = call("create_conversation", body=body, content_type=f"{content_type}; Charset={charset}")
    assert (response.status, response.message) == (415, "Content-Type: the charset must be UTF-8")
    assert list_conversations() == []


@pytest.mark.parametrize("body", ['{"contact_id": "harry"}', '\n [{"contact_id": "harry"}]'])
def test_json_sent_as_a_form_names_the_right_content_type(body: str) -> None:
    response = call("create_conversation", body=body, content_type=FORM)
    message = "body: looks like JSON; send it with Content-Type: application/json"
    assert (response.status, response.message) == (400, message)


@pytest.mark.parametrize("body", ["contact_id=%E9", "contact_id=harry&%FF=1"])
def test_form_must_be_utf_8(body: str) -> None:
    response = call("create_conversation", body=body, content_type=FORM)
    assert (response.status, response.message) == (400, "body: must be UTF-8, percent-encoded")


@pytest.mark.parametrize("body", ["contact_id=harry&", "&&contact_id=harry", "contact_id=harry&&"])
def test_empty_pairs_of_a_form_are_skipped(body: str) -> None:
    assert call("create_conversation", body=body).status == 201


@pytest.mark.parametrize("is_base64", [False, True])
def test_size_limit_is_512_kib(is_base64: bool) -> None:
    def post(length: int) -> tuple[int, str]:
        request = event("create_conversation")
        body = "contact_id=" + "a" * (length - len("contact_id="))
        request["body"] = base64.b64encode(body.encode()).decode() if is_base64 else body
        request["isBase64Encoded"] = is_base64
        response = invoke("create_conversation", request)
        return response.status, response.message

    assert post(524_288) == (400, NAME)
    assert post(524_289) == (413, "body: must be at most 524288 bytes")


def test_size_is_measured_in_bytes() -> None:
    assert call("create_conversation", body="contact_id=" + "é" * 262_140).status == 413


def test_malformed_base64_is_rejected() -> None:
    request = event("create_conversation") | {"isBase64Encoded": True, "body": "a"}
    response = invoke("create_conversation", request)
    assert (response.status, response.message) == (400, "body: must be UTF-8")
