"""The reference: a WhatsApp message answered with FastAPI, uvicorn and aiohttp, in one process.

It checks the signature, answers the webhook, asks the model and sends the answer: no table, no event, no order, no second try, nothing
known of the person or their meeting.  What it was doing when it ends is lost."""

import asyncio
import base64
import hmac
import json
import os
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import aiohttp
from fastapi import FastAPI, Request, Response

TOKEN, ACCOUNT = os.environ["TWILIO_AUTH_TOKEN"].encode(), os.environ["TWILIO_ACCOUNT_SID"]
PROVIDERS, SENDER = os.environ["PROVIDERS"], "whatsapp:" + os.environ["TWILIO_WHATSAPP_FROM"]


@asynccontextmanager
async def asking(app):
    app.state.client, app.state.tasks = aiohttp.ClientSession(), set()
    yield
    await app.state.client.close()


app = FastAPI(lifespan=asking)


async def answer(client, form):
    asked = {"model": "bench", "messages": [{"role": "user", "content": form["Body"]}]}
    async with client.post(PROVIDERS + "/v1/chat/completions", json=asked) as model:
        text = json.loads((await model.json())["choices"][0]["message"]["content"])["text"]
    message = {"To": form["From"], "From": SENDER, "Body": text}
    async with client.post(f"{PROVIDERS}/2010-04-01/Accounts/{ACCOUNT}/Messages.json", data=message,
                           auth=aiohttp.BasicAuth(ACCOUNT, TOKEN.decode())) as sent:
        await sent.read()


@app.post("/whatsapp-webhook")
async def message_received(request: Request):
    form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
    signed = str(request.url) + "".join(name + form[name] for name in sorted(form))
    code = base64.b64encode(hmac.digest(TOKEN, signed.encode(), "sha1")).decode()
    if not hmac.compare_digest(code, request.headers.get("X-Twilio-Signature", "")):
        return Response(status_code=401)
    task = asyncio.create_task(answer(request.app.state.client, form))
    request.app.state.tasks.add(task)
    task.add_done_callback(request.app.state.tasks.discard)
    return Response(status_code=204)


@app.get("/ready")
async def ready():
    return Response(status_code=200)
