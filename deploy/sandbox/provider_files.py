"""The web server recordings are fetched from, with the bad ones every recording host has one day."""

import asyncio
import re

from aiohttp import web

import limits
from errors import files_error
from state import STATE

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
RANGE = re.compile(r"bytes=(\d*)-(\d*)")
LOGIN_PAGE = b"<!doctype html><html><head><title>Sign in</title></head><body><h1>Please sign in</h1></body></html>\n"
SILENCE_HEADER = (
    b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\xff\xff\xff\xff"
)


def range_of(header, size):
    """(first, last) of a single range; None when there is none; ValueError when it cannot be served."""
    match = RANGE.fullmatch(header.strip())
    if match is None or match.group(1) == match.group(2) == "":
        return None
    if match.group(1) == "":
        length = int(match.group(2))
        if length == 0:
            raise ValueError
        return max(0, size - length), size - 1
    first, last = int(match.group(1)), int(match.group(2) or size - 1)
    if first >= size or last < first:
        raise ValueError
    return first, min(last, size - 1)


async def get_file(request):
    entry = request.app[STATE].files.entries.get(request.match_info["name"])
    if entry is None:
        return files_error(404, "there is no such file")
    content = entry["content"]
    headers = {"Content-Type": entry["content_type"], "Accept-Ranges": "bytes", "ETag": f'"{entry["sha256"][:32]}"'}
    try:
        wanted = range_of(request.headers.get("Range", ""), len(content))
    except ValueError:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
    if wanted is None:
        return web.Response(body=content, headers=headers)
    first, last = wanted
    headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
    return web.Response(status=206, body=content[first : last + 1], headers=headers)


async def html(_request):
    return web.Response(body=LOGIN_PAGE, content_type="text/html", charset="utf-8")


async def empty(_request):
    return web.Response(body=b"", content_type="audio/wav")


async def endless(request):
    """A recording that never ends.  ?length=N promises N bytes first."""
    headers = {"Content-Type": "audio/wav"}
    if request.query.get("length", "").isdigit():
        headers["Content-Length"] = request.query["length"]
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    left = int(headers.get("Content-Length", limits.ENDLESS_BYTES_MAX))
    await response.write(SILENCE_HEADER[:left])
    left -= len(SILENCE_HEADER)
    chunk = bytes(limits.FILE_CHUNK_BYTES)
    while left > 0:
        await response.write(chunk[:left])
        left -= len(chunk)
        await asyncio.sleep(0)
    return response


async def slow(request):
    """A recording at one byte a second, or ?bytes_per_s=N."""
    given = request.query.get("bytes_per_s", "")
    pause_s = 1 / int(given) if given.isdigit() and int(given) > 0 else 1 / limits.SLOW_BYTES_PER_S
    response = web.StreamResponse(headers={"Content-Type": "audio/wav", "Content-Length": str(10 * limits.MIB)})
    await response.prepare(request)
    for at in range(10 * limits.MIB):
        await response.write(SILENCE_HEADER[at : at + 1] or b"\0")
        await asyncio.sleep(pause_s)
    return response


async def redirect(request):
    """To ?to=, as often as ?times= says (default 1)."""
    target = request.query.get("to")
    if not target:
        return files_error(400, "give the address as ?to=")
    times = request.query.get("times", "1")
    if times.isdigit() and int(times) > 1:
        target = str(request.rel_url.update_query(times=str(int(times) - 1)))
    return web.Response(status=302, headers={"Location": target})


routes = [
    web.get("/files/_html", html),
    web.get("/files/_empty", empty),
    web.get("/files/_endless", endless, allow_head=False),
    web.get("/files/_slow", slow, allow_head=False),
    web.get("/files/_redirect", redirect),
    web.get("/files/{name}", get_file),
]
