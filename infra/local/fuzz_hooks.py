"""What schemathesis cannot read out of schemas/openapi.json by itself."""

import itertools
import os
import re
import uuid

import schemathesis

PLACEHOLDER = "{tenant_id}"
KEY = "Idempotency-Key"
# So many requests with a key of their own go before one with a key that may have been used.
FRESH = 8

requests = itertools.count(1)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """The tenant in the paths is the token's, and no operation makes one. With the name of a resource that nothing
    makes in every path, stateful testing would take no operation for a beginning."""
    tenant = os.environ["TENANT"]
    raw_schema["paths"] = {path.replace(PLACEHOLDER, tenant): fixed(item) for path, item in raw_schema["paths"].items()}


def fixed(item: dict) -> dict:
    for operation in item.values():
        operation["parameters"] = [it for it in operation["parameters"] if it["name"] != "tenant_id"]
        for answer in operation["responses"].values():
            for link in answer.get("links", {}).values():
                link["parameters"].pop("tenant_id", None)
    return item


@schemathesis.hook
def before_call(context, case, kwargs):
    """Nearly every generated key is `0`. Used again with another body it is refused, whatever the body is."""
    key = (case.headers or {}).get(KEY)
    if isinstance(key, str) and re.fullmatch("[!-~]{1,255}", key) and next(requests) % FRESH:
        case.headers[KEY] = str(uuid.uuid4())
