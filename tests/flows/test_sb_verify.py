"""sb verify: the same verdict as the door's on the same request, and the change that would have made a key match."""

import base64
import hashlib
import hmac
import json
import subprocess
import time
import uuid
from urllib.parse import urlencode

import pytest
import requests
from daemons import BUILD
from environment import ROOT, wait_until
from twilio.request_validator import RequestValidator

SB = BUILD / "bin" / "sb"
FINE, FAILED, WRONG = 0, 1, 2
SHARED = "old shared key,shared key"
TOKEN = "older token,twilio-token"
PUBLIC = "https://hooks.example.test"
SECRET = "older secret,shunya secret"
MEETINGS = "older one,meeting secret"
SETTINGS = {"CALLRAIL_SIGNING_KEY": SHARED, "TWILIO_AUTH_TOKEN": TOKEN, "PUBLIC_URL": PUBLIC, "SHUNYA_WEBHOOK_SECRET": SECRET,
            "OUTLOOK_WEBHOOK_SECRET": MEETINGS}
FORM = {"MessageSid": "SM1", "MessageStatus": "delivered", "To": "whatsapp:+12025550100", "Note": "two words & more"}


def callrail_sign(body, key="shared key"):
    return base64.b64encode(hmac.new(key.encode(), body, hashlib.sha1).digest()).decode()


def raw(path, headers, body, line_end="\r\n"):
    lines = ([f"POST {path} HTTP/1.1"] if path else []) + [f"{name}: {value}" for name, value in headers.items()]
    return (line_end.join(lines) + 2 * line_end).encode() + body


def callrail(body, path="/api/v1/callrail/call.completed", signature=None, **more):
    headers = {"Content-Type": "application/json", "Signature": callrail_sign(body) if signature is None else signature, **more}
    return path, headers, body


def twilio(url, path="/twilio-status?delivery=1", body=None, fields=None, token="twilio-token", **more):
    """A form that Twilio sent to `url`, as it came to `path`."""
    signature = RequestValidator(token).compute_signature(url, fields or FORM)
    headers = {"Host": "hooks.example.test", "Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": signature, **more}
    return path, headers, body if body is not None else urlencode(FORM).encode()


JOB = b'{"event":"job.completed","job_id":"j1","job_type":"transcription","call_id":"CAL1","status":"completed","result":{"transcript_text":"yes"}}'


def shunya(body=JOB, came=None, secret="shunya secret", at=None, legacy=False, **more):
    """A webhook that Shunya signed at `at` (now) over `body`, and that came as `came`."""
    at = int(time.time()) if at is None else at
    mac = hmac.new(secret.encode(), body if legacy else b"%d." % at + body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "X-Shunya-Signature": f"sha256={mac}" if legacy else f"t={at},v1={mac}", **more}
    return "/api/v1/shunya/webhook", headers, body if came is None else came


def outlook(secret, body=b'{"meeting": {"id": "A", "organizer": "ana@seller.example", "isCancelled": true}}'):
    return "/outlook-webhook", {"Content-Type": "application/json", **({"X-Webhook-Secret": secret} if secret is not None else {})}, body


def good(provider):
    return {"callrail": callrail(b'{"call_id": "CAL1"}'), "twilio": twilio(PUBLIC + "/twilio-status?delivery=1"), "shunya": shunya(),
            "outlook": outlook("meeting secret")}[provider]


@pytest.fixture
def verify(schema_ready, tmp_path):
    """Gives the exit code and the answer."""
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")  # a checkout of its own: what `make run` left in ours is not asked

    def run(provider, request, *arguments, line_end="\r\n", json_wanted=True, **settings):
        env = {"PATH": "/usr/bin", "DATABASE_URL": schema_ready.database_url, **SETTINGS, **settings, "ASAN_OPTIONS": "detect_leaks=0"}
        given = raw(*request, line_end=line_end) if isinstance(request, tuple) else request
        done = subprocess.run([SB, "verify", provider, *arguments, *(["--json"] if json_wanted else [])], input=given, cwd=tmp_path,
                              env={name: value for name, value in env.items() if value is not None}, capture_output=True, timeout=60)
        assert not any(secret in done.stdout for secret in (b"shared key", b"twilio-token", b"shunya secret", b"meeting secret")), "a key was shown"
        if not json_wanted or done.returncode == WRONG:
            return done.returncode, (done.stdout + done.stderr).decode()
        return done.returncode, json.loads(done.stdout)
    return run


@pytest.fixture
def company(database):
    name = "verify-" + uuid.uuid4().hex[:8]
    database.execute("INSERT INTO companies (tenant, name, callrail_keys) VALUES (%s, %s, %s)", (name, name, f"first key of {name}, key of {name}"))
    number = "+1555" + str(uuid.uuid4().int)[:7]
    database.execute("INSERT INTO tracking_numbers (number, tenant) VALUES (%s, %s)", (number, name))
    return name, number


# --- the verdict is the door's


def test_the_verdict_is_what_the_door_answers(verify, daemon, company, database):
    name, number = company
    ingest = daemon("ingest", **SETTINGS).ready()
    good, own = b'{"call_id": "CAL1"}', json.dumps({"call_id": "CAL2", "tracking_number": number}).encode()
    other = "verify-other-" + uuid.uuid4().hex[:8]
    database.execute("INSERT INTO companies (tenant, name, callrail_keys) VALUES (%s, %s, 'the other key')", (other, other))
    path = f"/api/v1/callrail/{name}/call.answered"
    cases = [
        ("callrail", callrail(good), True),
        ("callrail", callrail(good, signature=callrail_sign(good, "old shared key")), True),
        ("callrail", callrail(good, signature=callrail_sign(good, "wrong")), False),
        ("callrail", callrail(good + b"\n", signature=callrail_sign(good)), False),
        ("callrail", callrail(own, path=path, signature=callrail_sign(own, "key of " + name)), True),
        ("callrail", callrail(own, path=path), False),
        ("callrail", callrail(own, signature=callrail_sign(own, "key of " + name)), True),
        ("callrail", callrail(own, path=f"/api/v1/callrail/{other}/call.answered", signature=callrail_sign(own, "the other key")), False),
        ("callrail", callrail(b"not JSON", signature=callrail_sign(b"not JSON")), True),
        ("twilio", twilio(PUBLIC + "/twilio-status?delivery=1"), True),
        ("twilio", twilio(PUBLIC + "/twilio-status?delivery=1", token="older token"), True),
        ("twilio", twilio(PUBLIC + ":443/twilio-status?delivery=1"), True),
        ("twilio", twilio("http://hooks.example.test/twilio-status?delivery=1"), False),
        ("twilio", twilio(PUBLIC + "/twilio-status?delivery=1", token="wrong"), False),
        ("shunya", shunya(), True),
        ("shunya", shunya(secret="older secret"), True),
        ("shunya", shunya(b"{}"), True),
        ("shunya", shunya(at=int(time.time()) - 200), True),
        ("shunya", shunya(at=int(time.time()) - 400), False),
        ("shunya", shunya(at=int(time.time()) + 400), False),
        ("shunya", shunya(legacy=True), False),
        ("shunya", shunya(secret="wrong"), False),
        ("shunya", shunya(came=JOB + b"\n"), False),
        ("outlook", outlook("meeting secret"), True),
        ("outlook", outlook("older one"), True),
        ("outlook", outlook("meeting secret", b"not JSON"), True),
        ("outlook", outlook("wrong"), False),
        ("outlook", outlook(None), False),
    ]

    def asked(request):
        path, headers, body = request
        return requests.post(ingest.url + path, data=body, headers={**headers, "Host": "hooks.example.test"}, timeout=30).status_code
    wait_until(lambda: asked(cases[4][1]) == 200, "the door knowing the new companies' keys")
    for number, (provider, request, accepted) in enumerate(cases):
        assert (asked(request) < 300) == accepted, f"the door, case {number}"
        code, answer = verify(provider, request)
        assert (code, answer["accepted"]) == ((FINE, True) if accepted else (FAILED, False)), f"sb verify, case {number}: {answer}"


def test_the_key_is_told_by_its_place(verify, company):
    name, number = company
    body = b'{"call_id": "CAL1"}'
    assert verify("callrail", callrail(body))[1]["key"] == {"of": "CALLRAIL_SIGNING_KEY", "number": 2}
    own = callrail(body, signature=callrail_sign(body, "key of " + name))
    assert verify("callrail", own)[1]["key"] == {"of": f'the company "{name}"', "number": 2}
    assert verify("twilio", twilio(PUBLIC + "/twilio-status?delivery=1"))[1]["key"] == {"of": "TWILIO_AUTH_TOKEN", "number": 2}
    assert verify("shunya", shunya())[1]["key"] == {"of": "SHUNYA_WEBHOOK_SECRET", "number": 2}
    code, said = verify("callrail", callrail(body), json_wanted=False)
    assert code == FINE and "ok   callrail: key 2 of CALLRAIL_SIGNING_KEY signed it" in said.replace("\x1b[0m", "")


def test_a_secret_that_was_sent_with_something_around_it(verify):
    for sent, change in (("Bearer meeting secret", "the secret without the word Bearer"), ('"meeting secret"', "the secret without quotes")):
        code, answer = verify("outlook", outlook(sent))
        assert code == FAILED and answer["would_match"]["changes"] == [change]
        assert answer["would_match"]["key"] == {"of": "OUTLOOK_WEBHOOK_SECRET", "number": 2}
    assert "X-Webhook-Secret is missing" in verify("outlook", outlook(None))[1]["reason"]
    assert verify("outlook", outlook("x"), OUTLOOK_WEBHOOK_SECRET=None)[1]["mend"] == "set OUTLOOK_WEBHOOK_SECRET"


def test_authentic_but_unreadable_is_said(verify):
    code, answer = verify("outlook", outlook("meeting secret", b'{"meeting": {"organizer": {"name": "Ana"}}}'))
    assert code == FINE and "dead.ingest: /meeting/organizer/address" in answer["reason"]
    code, answer = verify("callrail", callrail(b'{"nothing": 1}'))
    assert code == FINE and "dead.ingest: /call_id" in answer["reason"]


def test_a_webhook_of_shunyas_that_was_kept_is_told_apart_from_a_forged_one(verify):
    code, answer = verify("shunya", shunya(at=int(time.time()) - 2 * 86400))
    assert code == FAILED and answer["key"] == {"of": "SHUNYA_WEBHOOK_SECRET", "number": 2}
    assert answer["reason"] == "refused: it was signed 2 d ago, and the door takes five minutes" and "if it came then" in answer["mend"]
    code, answer = verify("shunya", shunya(at=int(time.time()) + 3700))
    assert "from now" in answer["reason"] and "clock" in answer["mend"]


def test_an_older_signature_of_shunyas_needs_a_setting(verify):
    code, answer = verify("shunya", shunya(legacy=True))
    assert code == FAILED and answer["key"]["number"] == 2 and "SHUNYA_SIGNATURE_LEGACY=on" in answer["mend"]
    code, answer = verify("shunya", shunya(legacy=True), SHUNYA_SIGNATURE_LEGACY="on")
    assert code == FINE and answer["accepted"] and answer["reason"] is None


# --- what would have matched


CALLRAIL_BODY = b'{"call_id": "CAL1", "note": "a\\nb"}'


@pytest.mark.parametrize("sent, came, change", [
    (CALLRAIL_BODY, CALLRAIL_BODY + b"\n", "the body without the line end behind it"),
    (CALLRAIL_BODY, CALLRAIL_BODY + b"\r\n", "the body without the line end behind it"),
    (b'{"call_id":\r\n"CAL1"}', b'{"call_id":\n"CAL1"}', "line ends CRLF instead of LF in the body"),
    (b'{"call_id":\n"CAL1"}', b'{"call_id":\r\n"CAL1"}', "line ends LF instead of CRLF in the body"),
    (b'{"call_id":"CAL1"}', b'{ "call_id" : "CAL1" }', "the JSON written without white space"),
    (b"call_id=CAL1&note=two+words", b"call_id=CAL1&note=two%20words", "the form encoded again, blanks as +"),
    (b"call_id=CAL1&note=two%20words", b"call_id=CAL1&note=two+words", "the form encoded again, blanks as %20"),
])
def test_a_changed_body_is_found_out(verify, sent, came, change):
    code, answer = verify("callrail", callrail(came, signature=callrail_sign(sent)))
    assert code == FAILED and answer["would_match"]["changes"] == [change]
    assert answer["would_match"]["key"] == {"of": "CALLRAIL_SIGNING_KEY", "number": 2}
    assert "byte for byte" in answer["mend"]


def test_what_stands_behind_the_body_is_found_out(verify):
    body = b'{"call_id": "CAL1"}'
    code, answer = verify("callrail", callrail(body + b" and more", signature=callrail_sign(body), **{"Content-Length": len(body)}))
    assert code == FAILED and answer["would_match"]["changes"] == ["the body cut to its Content-Length"]


def test_a_changed_webhook_of_shunyas_is_found_out(verify):
    code, answer = verify("shunya", shunya(came=JOB + b"\n"))
    assert code == FAILED and answer["would_match"]["changes"] == ["the body without the line end behind it"]
    path, headers, body = shunya()
    code, answer = verify("shunya", (path, {**headers, "X-Shunya-Signature": f"'{headers['X-Shunya-Signature']}'"}, body))
    assert code == FAILED and answer["would_match"]["changes"] == ["the signature without quotes"]


def test_a_quoted_signature_is_found_out(verify):
    body = b'{"call_id": "CAL1"}'
    code, answer = verify("callrail", callrail(body, signature=f'"{callrail_sign(body)}"'))
    assert code == FAILED and answer["would_match"]["changes"] == ["the signature without quotes"]


def test_another_companys_path_is_found_out(verify, company):
    body = b'{"call_id": "CAL1"}'
    code, answer = verify("callrail", callrail(body, path=f"/api/v1/callrail/{company[0]}/call.incoming"))
    assert code == FAILED and "no key of the company" in answer["reason"]
    assert answer["would_match"]["changes"] == ["the path without a company"]
    assert answer["would_match"]["key"]["of"] == "CALLRAIL_SIGNING_KEY"


@pytest.mark.parametrize("url, changes, mend", [
    ("http://hooks.example.test/twilio-status?delivery=1", ["http instead of https"], "PUBLIC_URL=http://hooks.example.test,"),
    (PUBLIC + ":8443/twilio-status?delivery=1", ["the port of the header Host"], "PUBLIC_URL=https://hooks.example.test:8443"),
    (PUBLIC + "/twilio-status/?delivery=1", ["a slash behind the path"], "PUBLIC_URL"),
    (PUBLIC + "/twilio-status", ["no query in the address"], "PUBLIC_URL"),
    ("https://inner.example.test/twilio-status?delivery=1", ["the host of X-Forwarded-Host instead of PUBLIC_URL's"], "inner"),
    ("http://inner.example.test/twilio-status", ["http instead of https", "the host of X-Forwarded-Host instead of PUBLIC_URL's",
                                                 "no query in the address"], "PUBLIC_URL=http://inner.example.test"),
])
def test_another_address_is_found_out(verify, url, changes, mend):
    request = twilio(url, Host="hooks.example.test:8443", **{"X-Forwarded-Host": "inner.example.test"})
    code, answer = verify("twilio", request)
    assert code == FAILED and answer["url"] == PUBLIC + "/twilio-status?delivery=1"
    assert (answer["would_match"]["changes"], answer["would_match"]["url"]) == (changes, url)
    assert answer["would_match"]["key"] == {"of": "TWILIO_AUTH_TOKEN", "number": 2} and mend in answer["mend"]


def test_a_port_in_public_url_that_twilio_does_not_call_is_found_out(verify):
    """Twilio's own checkers try an address with and without its port, and so does the door."""
    code, answer = verify("twilio", twilio(PUBLIC + "/twilio-status?delivery=1"), PUBLIC_URL=PUBLIC + ":8443")
    assert code == FINE and answer["accepted"]


def test_a_wrong_key_matches_nothing(verify):
    for provider, request in (("callrail", callrail(b"{}", signature=callrail_sign(b"{}", "a stranger's"))),
                              ("twilio", twilio(PUBLIC + "/twilio-status?delivery=1", token="a stranger's")),
                              ("shunya", shunya(secret="a stranger's"))):
        code, answer = verify(provider, request)
        assert code == FAILED and answer["would_match"] is None and answer["key"] is None and answer["mend"]
        code, said = verify(provider, request, json_wanted=False)
        assert code == FAILED and "nothing that is usually changed on the way" in said


@pytest.mark.parametrize("provider, header", [("callrail", "Signature"), ("twilio", "X-Twilio-Signature"), ("shunya", "X-Shunya-Signature")])
def test_a_missing_header_is_named(verify, provider, header):
    path, headers, body = good(provider)
    del headers[header]
    code, answer = verify(provider, (path, headers, body))
    assert code == FAILED and f"the header {header} is missing" in answer["reason"] and answer["would_match"] is None


@pytest.mark.parametrize("provider, setting", [("callrail", "CALLRAIL_SIGNING_KEY"), ("twilio", "TWILIO_AUTH_TOKEN"), ("twilio", "PUBLIC_URL"),
                                               ("shunya", "SHUNYA_WEBHOOK_SECRET")])
def test_a_missing_setting_is_named(verify, provider, setting, schema_ready):
    code, answer = verify(provider, good(provider), DATABASE_URL=None, **{setting: None})
    assert code == FAILED and setting in answer["mend"]


# --- what it is given


def test_the_request_line_may_be_missing_and_lines_may_end_in_lf(verify):
    path, headers, body = callrail(b'{"call_id": "CAL1"}')
    assert verify("callrail", (None, headers, body))[1]["accepted"]
    assert verify("callrail", (path, headers, body), line_end="\n")[1]["accepted"]


def test_it_can_be_given_in_pieces(verify, tmp_path):
    _, headers, body = twilio(PUBLIC + "/twilio-status?delivery=1")
    (tmp_path / "body").write_bytes(body)
    pieces = [f"--header={name}: {value}" for name, value in headers.items()]
    code, answer = verify("twilio", b"", "--url", PUBLIC + "/twilio-status?delivery=1", *pieces, "--body", str(tmp_path / "body"))
    assert code == FINE and answer["accepted"]


def test_postgres_away_leaves_the_shared_keys(verify):
    code, answer = verify("callrail", callrail(b'{"call_id": "CAL1"}'), DATABASE_URL="postgresql://postgres@127.0.0.1:1/nothing")
    assert code == FINE and answer["key"]["of"] == "CALLRAIL_SIGNING_KEY"


@pytest.mark.parametrize("given, said", [
    (b"this is no header\n\nbody", "line 1 cannot be used"),
    (b"POST / HTTP/1.1\nSignature=abc\n\n", "line 2 cannot be used"),
    (b"A: b\n" * 200 + b"\n", "more than 128 headers"),
    (b"A: " + b"b" * 20000 + b"\n\n", "longer than"),
])
def test_what_is_no_request_is_told_with_its_line(verify, given, said):
    code, answer = verify("callrail", given, json_wanted=False)
    assert code == WRONG and said in answer


@pytest.mark.parametrize("arguments", [["nobody"], [], ["callrail", "twilio"], ["callrail", "--nonsense"], ["callrail", "--body", "/does/not/exist"]])
def test_a_wrong_command_line(arguments, tmp_path):
    done = subprocess.run([SB, "verify", *arguments], input=b"", cwd=tmp_path, capture_output=True, timeout=60)
    assert done.returncode == WRONG and done.stderr
