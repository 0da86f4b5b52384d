"""The reference: CallRail's webhook with FastAPI, uvicorn and aiokafka, doing the signature and the produce alone.

Nothing else of what ingest does: no limits, no schema, no envelope, no key, no spool.  It answers, like ingest, when all replicas have it.
Run by bench.py as `uvicorn reference_fastapi:app --loop uvloop --http httptools`, with linger 0, where it is at its best."""

import base64
import hmac
import os
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from fastapi import FastAPI, Request, Response

KEY = os.environ["CALLRAIL_SIGNING_KEY"].encode()
TOPIC = os.environ["REFERENCE_TOPIC"]


@asynccontextmanager
async def producing(app):
    app.state.producer = AIOKafkaProducer(bootstrap_servers=os.environ["KAFKA_BROKERS"], acks="all", enable_idempotence=True, linger_ms=0)
    await app.state.producer.start()
    yield
    await app.state.producer.stop()


app = FastAPI(lifespan=producing)


@app.post("/api/v1/callrail/call.completed")
async def call_completed(request: Request):
    body = await request.body()
    code = base64.b64encode(hmac.digest(KEY, body, "sha1")).decode()
    if not hmac.compare_digest(code, request.headers.get("Signature", "")):
        return Response(status_code=401)
    await app.state.producer.send_and_wait(TOPIC, body)
    return Response(status_code=200)


@app.get("/ready")
async def ready():
    return Response(status_code=200)
