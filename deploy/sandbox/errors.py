"""Error answers in each provider's own shape."""

import uuid
from datetime import datetime, timezone

from aiohttp import web

GOOGLE_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
OPENAI_TYPE = {
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
    503: ("service_unavailable_error", "server_is_overloaded"),
}
TWILIO_CODE = {401: 20003, 403: 20403, 404: 20404, 405: 20004, 429: 20429, 500: 20500, 503: 20503}


def twilio_error(status, message, code=None):
    code = code or TWILIO_CODE.get(status, 20001)
    response = web.json_response(
        {"code": code, "message": message, "more_info": f"https://www.twilio.com/docs/errors/{code}", "status": status},
        status=status,
    )
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="Twilio API"'
    return response


def callrail_error(status, message):
    return web.json_response({"error": message}, status=status)


def gemini_error(status, message, details=None, google_status=None):
    error = {"code": status, "message": message, "status": google_status or GOOGLE_STATUS.get(status, "UNKNOWN")}
    if status == 429 and details is None:
        details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}]
    if details:
        error["details"] = details
    return web.json_response({"error": error}, status=status)


def openai_error(status, message, param=None, code=None, kind=None):
    default_kind, default_code = OPENAI_TYPE.get(status, ("invalid_request_error", None))
    return web.json_response(
        {"error": {"message": message, "type": kind or default_kind, "param": param, "code": code or default_code}},
        status=status,
    )


SHUNYA_CODE = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    422: "invalid_request",
    425: "too_early",
    429: "rate_limited",
    500: "internal",
    503: "unavailable",
}


def shunya_error(status, message, code=None):
    code = code or SHUNYA_CODE.get(status, "error")
    return web.json_response({"error": {"code": code, "message": message}}, status=status)


def hubspot_error(status, message, category=None, **more):
    """Of the two shapes the one with a category, unless there is none."""
    body = {"status": "error", "message": message, "correlationId": str(uuid.uuid4())}
    if category:
        body["category"] = category
    return web.json_response({**body, **more}, status=status)


GRAPH_CODE = {
    400: "BadRequest",
    401: "InvalidAuthenticationToken",
    403: "Authorization_RequestDenied",
    404: "ResourceNotFound",
    409: "Conflict",
    410: "SyncStateNotFound",
    429: "TooManyRequests",
    500: "InternalServerError",
    503: "ServiceUnavailable",
    504: "GatewayTimeout",
}


def graph_error(status, message, code=None):
    moment = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    ids = {"date": moment, "request-id": str(uuid.uuid4()), "client-request-id": str(uuid.uuid4())}
    code = code or GRAPH_CODE.get(status, "UnknownError")
    return web.json_response({"error": {"code": code, "message": message, "innerError": ids}}, status=status)


S3_CODE = {403: "AccessDenied", 404: "NoSuchKey", 405: "MethodNotAllowed", 413: "EntityTooLarge", 429: "TooManyRequests", 500: "InternalError", 503: "SlowDown"}


def s3_error(status, message, code=None):
    code = code or S3_CODE.get(status, "InvalidRequest")
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{uuid.uuid4().hex}</RequestId></Error>'
    return web.Response(status=status, text=text, content_type="application/xml")


def files_error(status, message):
    return web.Response(status=status, text=f"{message}\n")


def error_response(provider, status, message):
    shape = {
        "twilio": twilio_error,
        "callrail": callrail_error,
        "gemini": gemini_error,
        "openai": openai_error,
        "shunya": shunya_error,
        "hubspot": hubspot_error,
        "graph": graph_error,
        "s3": s3_error,
    }
    return shape.get(provider, files_error)(status, message)
