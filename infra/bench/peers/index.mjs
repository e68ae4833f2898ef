// The same for Node, bundled to one file. AWS's own client of the Runtime API is built with a C++ tool chain that a machine
// need not have, so the loop below takes its place; it does less.
import { createHmac, timingSafeEqual } from "node:crypto";
import { SendMessageCommand, SQSClient } from "@aws-sdk/client-sqs";

const { AWS_LAMBDA_RUNTIME_API, QUEUE_URL, SQUARE_KEY, SQUARE_URL } = process.env;
// Without its check of the answer's MD5, which the measured AWS does not give.
const sqs = new SQSClient({ md5: false });

async function handler(event) {
  const given = Buffer.from(event.headers["x-square-hmacsha256-signature"] ?? "");
  const expected = Buffer.from(createHmac("sha256", SQUARE_KEY).update(SQUARE_URL).update(event.body).digest("base64"));
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    return { statusCode: 401, body: "{}" };
  }
  const { event_id, merchant_id, type } = JSON.parse(event.body);
  const message = { event_id, merchant_id, type, body: event.body };
  await sqs.send(new SendMessageCommand({ QueueUrl: QUEUE_URL, MessageBody: JSON.stringify(message) }));
  return { statusCode: 200, headers: { "content-type": "application/json" }, body: "{}" };
}

const invocations = `http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation`;
for (;;) {
  const next = await fetch(`${invocations}/next`);
  const answer = await handler(await next.json());
  const id = next.headers.get("lambda-runtime-aws-request-id");
  await (await fetch(`${invocations}/${id}/response`, { method: "POST", body: JSON.stringify(answer) })).text();
}
