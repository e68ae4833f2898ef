"""What a careful author writes for Python's Lambda: boto3, its client made once."""

import base64
import hashlib
import hmac
import json
import os

import boto3

SQS = boto3.client("sqs")
KEY = os.environ["SQUARE_KEY"].encode()
URL = os.environ["SQUARE_URL"].encode()
QUEUE = os.environ["QUEUE_URL"]


def handler(event, context):
    body = event["body"]
    signature = event["headers"].get("x-square-hmacsha256-signature", "")
    expected = base64.b64encode(hmac.digest(KEY, URL + body.encode(), hashlib.sha256)).decode()
    if not hmac.compare_digest(signature, expected):
        return {"statusCode": 401, "body": "{}"}
    parsed = json.loads(body)
    message = {"event_id": parsed["event_id"], "merchant_id": parsed["merchant_id"], "type": parsed["type"], "body": body}
    SQS.send_message(QueueUrl=QUEUE, MessageBody=json.dumps(message))
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": "{}"}
