"""Where the emulator differs from AWS in something our template or tests rely on, it is brought closer here.

Each function below patches one thing of the pinned version and says why. When a newer emulator does it by itself, the
patch goes; the template never bends for the emulator.
"""

import contextlib
import contextvars
import hashlib
import json
import logging
import os
import signal
import socketserver
import threading
from pathlib import Path

import queues


def apply(logs: Path, names: dict[str, str]) -> None:
    """`names` (SHA-256 of the package -> function) is filled by the deployer."""
    send_small_answers_at_once()
    quiet_emulator()
    evaluate_request_context()
    name_roles_and_take_loopback_for_tls()
    name_batches_after_their_entries()
    encrypt_again()
    refer_to_secrets_by_arn()
    write_numbers_as_text()
    queues.apply()
    write_function_logs(logs, names)
    record_permissions(logs.parent / "permissions.jsonl")


def send_small_answers_at_once() -> None:
    """Nagle's algorithm against delayed acknowledgements costs 40 ms per invocation in the Lambda runtime API."""
    socketserver.StreamRequestHandler.disable_nagle_algorithm = True


def quiet_emulator() -> None:
    """Its log level is read from LOG_LEVEL, which the functions would inherit."""
    import ministack.app  # noqa: F401  (configures logging when imported)

    logging.getLogger().setLevel(logging.WARNING)


def name_roles_and_take_loopback_for_tls() -> None:
    """`aws:PrincipalArn` of a session is the role's ARN:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principalarn
    And what never leaves the machine needs no TLS: policies that ask for it would refuse everything here.
    """
    from ministack.core import iam_evaluator

    resolve = iam_evaluator._resolve_condition_key

    def resolve_role(key, context):
        value = resolve(key, context)
        if key.lower() == "aws:securetransport":
            return "true"
        if key.lower() == "aws:principalarn" and ":assumed-role/" in (value or ""):
            account, role = value.split(":")[4], value.split("/")[1]
            return f"arn:aws:iam::{account}:role/{role}"
        return value

    iam_evaluator._resolve_condition_key = resolve_role


def evaluate_request_context() -> None:
    """IAM conditions on `kms:EncryptionContext:*` and `dynamodb:LeadingKeys` compare with what the request says."""
    from ministack.core import iam_actions

    tag_context = iam_actions.request_tag_context

    def with_request_context(service, iam_action, body, params):
        context = tag_context(service, iam_action, body, params)
        try:
            request = json.loads(body or b"{}")
        except ValueError:
            return context
        if service == "kms":
            return {**context, **encryption_context(request)}
        if service == "dynamodb" and (key := request.get("Key") or request.get("Item")):
            return {**context, "dynamodb:leadingkeys": leading_keys(key)}
        return context

    iam_actions.request_tag_context = with_request_context


def name_batches_after_their_entries() -> None:
    """IAM knows no batch actions of SQS: who may send one message may send ten at once."""
    from ministack.core import iam_actions

    extract = iam_actions.extract_iam_action

    def without_batch(service, *request):
        action = extract(service, *request)
        return action.removesuffix("Batch") if service == "sqs" and action else action

    iam_actions.extract_iam_action = without_batch


def encryption_context(request: dict) -> dict:
    given = request.get("EncryptionContext") or request.get("SourceEncryptionContext") or {}
    named = {f"kms:encryptioncontext:{key}".lower(): value for key, value in given.items()}
    return {"kms:encryptioncontextkeys": list(given), **named}


def leading_keys(key: dict) -> list[str]:
    """The value of the partition key: of our tables, whichever of these names the item has."""
    names = ("tenant_id", "configuration_key", "log_key", "key")
    return [value for name in names if name in key for value in key[name].values()]


def encrypt_again() -> None:
    """KMS's ReEncrypt: what Decrypt with the source and Encrypt with the destination answer together."""
    from ministack.services import kms

    handle = kms.handle_request

    async def handle_request(method, path, headers, body, query_params):
        if not headers.get("x-amz-target", "").endswith(".ReEncrypt"):
            return await handle(method, path, headers, body, query_params)
        asked = json.loads(body)
        opened = kms._decrypt({
            "CiphertextBlob": asked["CiphertextBlob"],
            "KeyId": asked.get("SourceKeyId", ""),
            "EncryptionContext": asked.get("SourceEncryptionContext", {}),
        })
        if opened[0] != 200:
            return opened
        return kms._encrypt({
            "Plaintext": json.loads(opened[2])["Plaintext"],
            "KeyId": asked["DestinationKeyId"],
            "EncryptionContext": asked.get("DestinationEncryptionContext", {}),
        })

    kms.handle_request = handle_request


def refer_to_secrets_by_arn() -> None:
    """`Ref` of a secret is its ARN, as on AWS; with the bare name, policies that use it would allow nothing."""
    from ministack.services.cloudformation import provisioners

    handlers = provisioners._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"]
    create = handlers["create"]

    def create_and_refer_by_arn(*arguments):
        _, attributes = create(*arguments)
        return attributes["Arn"], attributes

    handlers["create"] = create_and_refer_by_arn


def write_numbers_as_text() -> None:
    """CloudFormation turns every value of a function's environment into text; a number would stop the process here."""
    from ministack.services import lambda_svc

    variables = lambda_svc._runtime_env_vars

    def as_text(config):
        return {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in variables(config).items()
        }

    lambda_svc._runtime_env_vars = as_text


def write_function_logs(logs: Path, names: dict[str, str]) -> None:
    """Every line of a function also lands in `logs/<function>.log` at once, whether or not the invocation ends."""
    from ministack.core.lambda_runtime import ProvidedWorker

    pump = ProvidedWorker._pump_output
    lock = threading.Lock()

    class Tee:
        def __init__(self, queue, path):
            self.queue, self.path = queue, path

        def put_nowait(self, line):
            with lock, self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            self.queue.put_nowait(line)

        def get_nowait(self):
            return self.queue.get_nowait()

    def pump_to_file_too(worker, stream, log_queue):
        package = hashlib.sha256(worker.code_zip).hexdigest()
        name = names.get(package, worker.func_name)
        pump(worker, stream, Tee(log_queue, logs / f"{name}.log"))

    ProvidedWorker._pump_output = pump_to_file_too


def record_permissions(path: Path) -> None:
    """Which statement allowed a role what, and what none did: a line for each, the first time it happens."""
    from ministack.core import iam_evaluator

    evaluate, evaluate_resource_policy = iam_evaluator.evaluate, iam_evaluator.evaluate_resource_policy
    of_resource = contextvars.ContextVar("of_resource", default=False)
    seen: set[tuple[str, ...]] = set()

    def evaluate_and_record(context, *policies):
        result = evaluate(context, *policies)
        _, is_role, session = context.principal_arn.partition(":assumed-role/")
        use = (session.partition("/")[0], result.matched_sid, context.action, context.resource_arn)
        if is_role and not of_resource.get() and use not in seen:
            seen.add(use)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dict(zip(("role", "sid", "action", "resource"), use, strict=True))) + "\n")
        return result

    def evaluate_unrecorded(*arguments, **options):
        token = of_resource.set(True)
        try:
            return evaluate_resource_policy(*arguments, **options)
        finally:
            of_resource.reset(token)

    iam_evaluator.evaluate = evaluate_and_record
    iam_evaluator.evaluate_resource_policy = evaluate_unrecorded


def end_functions() -> None:
    """Ends every Lambda process; the emulator leaves that to the end of its container."""
    from ministack.core import lambda_runtime

    lambda_runtime.reset()
    # One that was being started at this moment is not in the emulator's books yet.
    for child in Path("/proc/self/task").glob("*/children"):
        for pid in child.read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
