"""One S3-compatible bucket, asked by path: docs.aws.amazon.com/AmazonS3/latest/API (PutObject, GetObject, HeadObject, DeleteObject,
sig-v4-header-based-auth).

Every request is signed by AWS Signature Version 4, and the signature is made once more here.  Stricter than S3: what is put must be signed
with the hash of its bytes, and a name is of letters, digits and `._-/`, so that nobody can encode it in two ways."""

import hashlib
import hmac
import re
from datetime import datetime, timedelta, timezone
from xml.sax.saxutils import escape

from aiohttp import web

from errors import s3_error
from provider_files import range_of
from state import STATE
from store import Full

BASE = "/s3"
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/, ]+)/(\d{8})/([^/, ]+)/([^/, ]+)/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)
KEY = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
NOTHING = hashlib.sha256(b"").hexdigest()
SKEW = timedelta(minutes=15)


class Refused(Exception):
    def __init__(self, status, code, message):
        super().__init__()
        self.response = s3_error(status, message, code)


def hmac_sha256(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature_of(request, secret, day, region, moment, signed):
    """Of the request as it came; `signed` are the names of its signed headers."""
    headers = "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in signed)
    canonical = "\n".join([request.method, request.raw_path.partition("?")[0], "&".join(sorted(filter(None, request.query_string.split("&")))),
                           headers, ";".join(signed), request.headers["x-amz-content-sha256"]])  # fmt: skip
    scope = f"{day}/{region}/s3/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("AWS4" + secret).encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac_sha256(key, part)
    return hmac_sha256(key, to_sign).hex()


def check_time(moment, day):
    try:
        at = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        raise Refused(403, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header") from None
    if abs(datetime.now(timezone.utc) - at) > SKEW:
        raise Refused(403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
    if not moment.startswith(day):
        raise Refused(403, "SignatureDoesNotMatch", "the date of the credential is not that of the request")


def check_signed(request, signed):
    if signed != sorted(set(signed)) or any(name not in request.headers for name in signed):
        raise Refused(400, "AuthorizationHeaderMalformed", "SignedHeaders names headers that are there, in order")
    needed = {"host", *(name.lower() for name in request.headers if name.lower().startswith("x-amz-"))}
    if not needed <= set(signed):
        raise Refused(403, "AccessDenied", "There were headers present in the request which were not signed")


async def authenticate(request):
    config = request.app[STATE].config
    given = request.headers.get("Authorization")
    if given is None:
        raise Refused(403, "AccessDenied", "Access Denied")
    found = AUTHORIZATION.fullmatch(given)
    if found is None:
        raise Refused(400, "AuthorizationHeaderMalformed", "The authorization header is malformed.")
    access_key, day, region, service, signed, signature = found.groups()
    if (region, service) != (config.s3_region, "s3"):
        raise Refused(400, "AuthorizationHeaderMalformed", f"the region '{region}' is wrong; expecting '{config.s3_region}'")
    if access_key != config.s3_access_key:
        raise Refused(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
    promised = request.headers.get("x-amz-content-sha256")
    if promised is None:
        raise Refused(400, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    moment = request.headers.get("x-amz-date", "")
    check_time(moment, day)
    check_signed(request, signed.split(";"))
    if not hmac.compare_digest(signature, signature_of(request, config.s3_secret_key, day, region, moment, signed.split(";"))):
        raise Refused(403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
    body = await request.read()
    if promised != (hashlib.sha256(body).hexdigest() if body or request.method == "PUT" else NOTHING):
        raise Refused(400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
    return body


def part_of(request, content):
    headers = {"Accept-Ranges": "bytes", "ETag": f'"{hashlib.md5(content).hexdigest()}"', "Content-Type": "binary/octet-stream"}
    try:
        wanted = range_of(request.headers.get("Range", ""), len(content))
    except ValueError:
        raise Refused(416, "InvalidRange", "The requested range is not satisfiable") from None
    if wanted is None:
        return web.Response(body=content, headers=headers)
    first, last = wanted
    headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
    return web.Response(status=206, body=content[first : last + 1], headers=headers)


def act(request, body):
    state, bucket, key = request.app[STATE], request.match_info["bucket"], request.match_info["key"]
    if bucket != state.config.s3_bucket:
        raise Refused(404, "NoSuchBucket", "The specified bucket does not exist")
    if request.method == "HEAD" and not key:  # the bucket itself
        return web.Response()
    if not KEY.fullmatch(key) or request.raw_path != f"{BASE}/{bucket}/{key}":
        raise Refused(400, "InvalidURI", f"not a name: {escape(key)}")
    if request.method == "PUT":
        state.objects.put(key, request.headers.get("Content-Type", ""), body)
        return web.Response()
    if request.method == "DELETE":  # also of what is not there
        state.objects.delete(key)
        return web.Response(status=204)
    if key not in state.objects.entries:
        raise Refused(404, "NoSuchKey", "The specified key does not exist.")
    return part_of(request, state.objects.entries[key]["content"])


async def handle(request):
    try:
        return act(request, await authenticate(request))
    except Refused as refused:
        response = refused.response
        return web.Response(status=response.status) if request.method == "HEAD" else response
    except Full as full:
        return s3_error(507, str(full), "InsufficientStorage")


routes = [web.route(method, BASE + r"/{bucket}/{key:.*}", handle) for method in ("GET", "PUT", "DELETE")]  # HEAD goes with GET
