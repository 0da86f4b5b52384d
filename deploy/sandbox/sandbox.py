#!/usr/bin/env python3
"""The provider sandbox: Twilio, CallRail, Gemini, OpenAI, Shunya, HubSpot, Microsoft Graph and a bucket in one process, for running
without accounts.

It speaks their wire formats, refuses what they refuse, keeps what it got, misbehaves when told to.  See README.md."""

import argparse
import asyncio
import socket
import sys
import time

from aiohttp import web

import control
import limits
import provider_callrail
import provider_files
import provider_gemini
import provider_graph
import provider_hubspot
import provider_openai
import provider_openai_audio
import provider_s3
import provider_shunya
import provider_twilio
import provider_twilio_inbound
from config import Config, environment_for_daemons
from errors import error_response
from faults import REQUEST_FAULTS, disturbed
from state import STATE, State

BASES = {
    "twilio": provider_twilio.BASE,
    "callrail": provider_callrail.BASE,
    "gemini": provider_gemini.BASE,
    "openai": provider_openai.BASE,
    "shunya": provider_shunya.BASE,
    "hubspot": provider_hubspot.BASE,
    "graph": provider_graph.BASE,
    "files": "/files",
    "s3": provider_s3.BASE,
}

MODULES = (
    control,
    provider_twilio,
    provider_twilio_inbound,
    provider_callrail,
    provider_gemini,
    provider_openai,
    provider_openai_audio,
    provider_shunya,
    provider_hubspot,
    provider_graph,
    provider_files,
    provider_s3,
)
LOG = web.AppKey("log", bool)


def provider_of(path):
    """The provider a path belongs to, and the path as that provider knows it."""
    for provider, base in BASES.items():
        if path.startswith(base + "/"):
            return provider, path[len(base) :]
    return None, path


@web.middleware
async def kept_and_disturbed(request, handler):
    """A provider's request is kept when it is whole, before anything is done about it."""
    provider, path = provider_of(request.path)
    if provider is None:
        return await handler(request)
    state = request.app[STATE]
    started = time.monotonic()
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        return error_response(provider, 413, f"the body has more than {limits.REQUEST_BYTES_MAX} bytes")
    rule = state.faults.take(set(REQUEST_FAULTS), provider, path, request.method)
    entry = state.requests.keep(provider, request, path, body, rule.what if rule else None)

    async def act():
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return error_response(provider, 404, f"The requested resource {path} was not found")
        except web.HTTPMethodNotAllowed:
            return error_response(provider, 405, f"{request.method} is not allowed here")

    try:
        response = await (disturbed(rule, provider, request, act) if rule else act())
        entry["status"] = None if rule and rule.what == "cut" else response.status
        return response
    finally:
        entry["took_ms"] = round((time.monotonic() - started) * 1000, 1)
        state.news.tell()
        if request.app[LOG]:
            fault = f"  ({rule.what})" if rule else ""
            line = f"{entry['at']}  {provider:8} {request.method} {path} -> {entry['status'] or 'cut'}{fault}"
            print(line, flush=True)


def application(config, log=True):
    app = web.Application(middlewares=[control.explain, kept_and_disturbed], client_max_size=limits.REQUEST_BYTES_MAX)
    app[LOG] = log
    app[STATE] = state = State(config)
    for module in MODULES:
        app.router.add_routes(module.routes)

    async def client(_app):
        state.webhooks.open()
        yield
        await state.webhooks.close()

    app.cleanup_ctx.append(client)
    return app


def listening(address):
    """A bound socket, so that a port in use is said before anything else."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise SystemExit(f"sandbox: --listen {address}: give HOST:PORT, for example 127.0.0.1:5100")
    try:
        bound = socket.create_server(
            (host.strip("[]"), int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
        )
    except OSError as error:
        raise SystemExit(
            f"sandbox: could not listen on {address}: {error.strerror}; choose another port with --listen"
        ) from None
    bound.setblocking(False)
    return bound


def main():
    parser = argparse.ArgumentParser(prog="sandbox.py", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--listen", default="127.0.0.1:5100", metavar="HOST:PORT", help="default %(default)s; port 0: any free one"
    )
    parser.add_argument(
        "--public-url", metavar="URL", help="how others reach it; default http:// and the address it listens on"
    )
    parser.add_argument("--quiet", action="store_true", help="no line for each request")
    parser.add_argument(
        "--print-env", action="store_true", help="print the settings that make the daemons use it, and end"
    )
    options = parser.parse_args()
    if options.print_env:
        for name, value in environment_for_daemons(options.public_url or f"http://{options.listen}").items():
            print(f"{name}={value}")
        return
    bound = listening(options.listen)
    host, port = bound.getsockname()[:2]
    base_url = options.public_url or f"http://{f'[{host}]' if ':' in host else host}:{port}"
    print(f"sandbox: listening on {base_url}; {base_url}/ tells what can be asked", flush=True)
    web.run_app(
        application(Config.from_environment(base_url.rstrip("/")), log=not options.quiet),
        sock=bound,
        print=None,
        access_log=None,
        shutdown_timeout=1.0,
        handle_signals=True,
    )


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(0)
