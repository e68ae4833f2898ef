"""The same with a web framework: FastAPI behind Mangum."""

import base64
import hashlib
import hmac
import json
import os

import boto3
from fastapi import FastAPI, Header, HTTPException, Request
from mangum import Mangum

SQS = boto3.client("sqs")
KEY = os.environ["SQUARE_KEY"].encode()
URL = os.environ["SQUARE_URL"].encode()
QUEUE = os.environ["QUEUE_URL"]
app = FastAPI()


@app.post("/api/v1/webhooks/square")
async def square(request: Request, x_square_hmacsha256_signature: str = Header("")):
    body = await request.body()
    expected = base64.b64encode(hmac.digest(KEY, URL + body, hashlib.sha256)).decode()
    if not hmac.compare_digest(x_square_hmacsha256_signature, expected):
        raise HTTPException(401)
    parsed = json.loads(body)
    message = {
        "event_id": parsed["event_id"],
        "merchant_id": parsed["merchant_id"],
        "type": parsed["type"],
        "body": body.decode(),
    }
    SQS.send_message(QueueUrl=QUEUE, MessageBody=json.dumps(message))
    return {}


handler = Mangum(app, lifespan="off")
