"""The sandbox's bucket: its signatures are those of Amazon's own example, and it refuses what S3 refuses."""

import hashlib
import sys
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
import requests
from sandbox_process import ROOT
from sandbox_process import process, sandbox  # noqa: F401 (fixtures)

sys.path.append(str(ROOT / "deploy" / "sandbox"))
from provider_s3 import signature_of  # noqa: E402

KEY, SECRET, REGION = "AKIASANDBOX", "sandbox-aws-secret-access-key", "us-east-1"
NOTHING = hashlib.sha256(b"").hexdigest()


def test_signatures_are_those_of_amazons_example():
    """docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, "GET Object"."""
    request = SimpleNamespace(method="GET", raw_path="/test.txt", query_string="", headers={
        "host": "examplebucket.s3.amazonaws.com", "range": "bytes=0-9", "x-amz-content-sha256": NOTHING, "x-amz-date": "20130524T000000Z"})
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    assert signature_of(request, secret, "20130524", REGION, "20130524T000000Z", sorted(request.headers)) == \
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"


def ask(sandbox, method, path, body=b"", key=KEY, secret=SECRET, region=REGION, at=None, promised=None, unsigned=(), **headers):  # noqa: F811
    at = at or datetime.now(timezone.utc)
    moment = at.strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": sandbox.url.removeprefix("http://"), "x-amz-date": moment, "x-amz-content-sha256": promised or hashlib.sha256(body).hexdigest(),
               **{name.replace("_", "-"): value for name, value in headers.items()}}
    signed = sorted(set(headers) - set(unsigned))
    request = SimpleNamespace(method=method, raw_path="/s3" + path, query_string="", headers=headers)
    signature = signature_of(request, secret, moment[:8], region, moment, signed)
    headers["Authorization"] = (f"AWS4-HMAC-SHA256 Credential={key}/{moment[:8]}/{region}/s3/aws4_request, SignedHeaders={';'.join(signed)},"
                                f" Signature={signature}")
    return requests.request(method, f"{sandbox.url}/s3{path}", data=body or None, headers=headers, timeout=10)


def test_an_object_is_put_fetched_and_deleted(sandbox):  # noqa: F811
    assert ask(sandbox, "HEAD", "/recordings/").status_code == 200
    for _ in range(2):
        assert ask(sandbox, "PUT", "/recordings/acme/a.wav", b"0123456789").status_code == 200
    assert ask(sandbox, "GET", "/recordings/acme/a.wav").content == b"0123456789"
    part = ask(sandbox, "GET", "/recordings/acme/a.wav", range="bytes=2-4")
    assert (part.status_code, part.content, part.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert ask(sandbox, "GET", "/recordings/acme/a.wav", range="bytes=10-").status_code == 416
    assert [ask(sandbox, "DELETE", "/recordings/acme/a.wav").status_code for _ in range(2)] == [204, 204]
    absent = ask(sandbox, "GET", "/recordings/acme/a.wav")
    assert absent.status_code == 404 and "<Code>NoSuchKey</Code>" in absent.text
    head = ask(sandbox, "HEAD", "/recordings/acme/a.wav")
    assert head.status_code == 404 and head.content == b""


@pytest.mark.parametrize(("about", "status", "code"), [
    ({"secret": "wrong"}, 403, "SignatureDoesNotMatch"), ({"key": "AKIANOBODY"}, 403, "InvalidAccessKeyId"),
    ({"region": "eu-west-1"}, 400, "AuthorizationHeaderMalformed"), ({"promised": NOTHING}, 400, "XAmzContentSHA256Mismatch"),
    ({"promised": "UNSIGNED-PAYLOAD"}, 400, "XAmzContentSHA256Mismatch"), ({"unsigned": ("host",)}, 403, "AccessDenied"),
    ({"unsigned": ("x-amz-meta-a",), "x_amz_meta_a": "b"}, 403, "AccessDenied"),
    ({"at": datetime.now(timezone.utc) - timedelta(minutes=20)}, 403, "RequestTimeTooSkewed"), ({"path": "/another/a"}, 404, "NoSuchBucket")])
def test_what_s3_refuses(sandbox, about, status, code):  # noqa: F811
    refused = ask(sandbox, "PUT", **{"path": "/recordings/acme/a.wav", "body": b"words", **about})
    assert (refused.status_code, f"<Code>{code}</Code>" in refused.text) == (status, True), refused.text
    assert sandbox.control("GET", "/objects")["total"] == 0


def test_nobody_without_a_signature(sandbox):  # noqa: F811
    assert "AccessDenied" in requests.get(sandbox.url + "/s3/recordings/a", timeout=10).text
    assert requests.get(sandbox.url + "/s3/recordings/a", headers={"Authorization": "Bearer x"}, timeout=10).status_code == 400
