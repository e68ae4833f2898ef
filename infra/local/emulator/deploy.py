"""Deploys the repository's template.yaml into the emulator, the way `sam deploy` would into AWS.

The template stays the single description of the infrastructure: nothing in it is changed but the place of each
function's package, and two settings that the emulator's CloudFormation reads over are applied afterwards.
"""

import hashlib
import io
import json
import time
import zipfile
from pathlib import Path

import boto3
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError
from samtranslator.yaml_helper import yaml_parse

STACK = "pos"
BUCKET = "packages"
# Larger templates must be read from S3, as on AWS.
LARGEST_INLINE_TEMPLATE = 51_200


class DeploymentFailed(Exception):
    """Says for a person what to do about it."""


class Deployer:
    def __init__(self, endpoint: str, region: str, folder: Path, names: dict[str, str], progress):
        self.endpoint, self.region, self.folder, self.names, self.progress = endpoint, region, folder, names, progress
        session = boto3.session.Session("test", "test", region_name=region)
        config = Config(
            # Our own loop waits for the emulator; boto's back-off is far too patient for one that starts in 0.3 s.
            retries={"max_attempts": 1},
            connect_timeout=2,
            read_timeout=60,
            # The packages do not leave the machine, and there are some hundred megabytes of them.
            request_checksum_calculation="when_required",
            s3={"payload_signing_enabled": False},
        )
        self.client = lambda name: session.client(name, endpoint_url=endpoint, config=config)

    def deploy(self, template_path: Path, binaries: Path, parameters: dict[str, str]) -> dict:
        started = time.monotonic()
        template = without_alarms(read_template(template_path))
        self.wait_for_emulator()
        functions = self.upload_packages(template, binaries)
        uploaded = time.monotonic()
        self.progress(f"deploy: {len(functions)} functions uploaded in {uploaded - started:.1f} s")
        outputs, physical = self.create_stack(template, parameters)
        self.apply_table_settings(template, physical)
        self.apply_gateway_responses(template, physical)
        (self.folder / "resources.json").write_text(json.dumps(physical), encoding="utf-8")
        self.progress(f"deploy: stack `{STACK}` created in {time.monotonic() - uploaded:.1f} s")
        return {
            "endpoint": self.endpoint,
            "region": self.region,
            "account": self.client("sts").get_caller_identity()["Account"],
            "api_url": self.api_url(outputs),
            "outputs": outputs,
            "functions": {binary: physical[logical] for logical, binary in functions.items() if logical in physical},
            "credentials": {
                binary: self.credentials(f"{logical}Role", physical)
                for logical, binary in functions.items()
                if logical in physical
            },
            "environments": {
                binary: self.environment(physical[logical]) for logical, binary in functions.items() if logical in physical
            },
        }

    def credentials(self, role: str, physical: dict[str, str]) -> dict[str, str]:
        """Of the function's role, for the same tests: what it may not do, they cannot do either."""
        sts = self.client("sts")
        arn = f"arn:aws:iam::{sts.get_caller_identity()['Account']}:role/{physical[role]}"
        session = sts.assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        return {name: session[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")}

    def environment(self, function: str) -> dict[str, str]:
        """What the template gives the function, for tests that run its code in their own process."""
        configuration = self.client("lambda").get_function_configuration(FunctionName=function)
        variables = configuration.get("Environment", {}).get("Variables", {})
        return {name: str(value) for name, value in variables.items()}

    def wait_for_emulator(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                self.client("s3").create_bucket(Bucket=BUCKET)
                return
            except ClientError:
                raise
            except Exception:
                if time.monotonic() > deadline:
                    raise DeploymentFailed("the emulator did not answer within 30 s") from None
                time.sleep(0.02)

    def upload_packages(self, template: dict, binaries: Path) -> dict[str, str]:
        """Sets every CodeUri to an uploaded package. Returns logical id -> binary."""
        s3, uploaded, functions = self.client("s3"), {}, {}
        for logical, resource in resources(template, "AWS::Serverless::Function"):
            binary = binary_of(resource)
            functions[logical] = binary
            if binary not in uploaded:
                package = pack(binaries / binary)
                key = f"{binary}.zip"
                s3.put_object(Bucket=BUCKET, Key=key, Body=package)
                self.names[hashlib.sha256(package).hexdigest()] = binary
                uploaded[binary] = f"s3://{BUCKET}/{key}"
            resource["Properties"]["CodeUri"] = uploaded[binary]
        return functions

    def create_stack(self, template: dict, given: dict[str, str]) -> tuple[dict, dict]:
        """Returns the outputs, and logical id -> physical id."""
        cloudformation = self.client("cloudformation")
        # Dates of unquoted versions (`2012-10-17`) come out of YAML as dates.
        body = json.dumps(template, default=str)
        if len(body) > LARGEST_INLINE_TEMPLATE:
            self.client("s3").put_object(Bucket=BUCKET, Key="template.json", Body=body.encode())
            source = {"TemplateURL": f"{self.endpoint}/{BUCKET}/template.json"}
        else:
            source = {"TemplateBody": body}
        declared = template.get("Parameters", {})
        parameters = {"Env": "local", "Architecture": "x86_64", **given}
        unknown = [name for name in given if name not in declared]
        if unknown:
            raise DeploymentFailed(f"the template has no parameter {', '.join(unknown)}")
        try:
            cloudformation.create_stack(
                StackName=STACK,
                Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
                Parameters=[
                    {"ParameterKey": name, "ParameterValue": value}
                    for name, value in parameters.items()
                    if name in declared
                ],
                **source,
            )
        except ClientError as error:
            raise DeploymentFailed(error.response["Error"]["Message"]) from error
        stack = self.wait_for_stack(cloudformation)
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        resources = cloudformation.describe_stack_resources(StackName=STACK)["StackResources"]
        return outputs, {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}

    def wait_for_stack(self, cloudformation) -> dict:
        deadline = time.monotonic() + 120
        while True:
            stack = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
            status = stack["StackStatus"]
            if status == "CREATE_COMPLETE":
                return stack
            if not status.endswith("_IN_PROGRESS") or time.monotonic() > deadline:
                raise DeploymentFailed(f"stack is {status}\n{self.failures(cloudformation)}")
            time.sleep(0.05)

    @staticmethod
    def failures(cloudformation) -> str:
        events = cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
        lines = [
            f"  {event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', 'no reason')}"
            for event in reversed(events)
            if event["ResourceStatus"].endswith("FAILED")
        ]
        return "\n".join(lines) or "  no failed resource is named in the stack's events"

    def apply_table_settings(self, template: dict, physical: dict[str, str]) -> None:
        """The emulator's CloudFormation creates tables without their time to live and point-in-time recovery."""
        dynamodb = self.client("dynamodb")
        for logical, resource in resources(template, "AWS::DynamoDB::Table"):
            if logical not in physical:
                continue
            properties, table = resource["Properties"], physical[logical]
            if specification := properties.get("TimeToLiveSpecification"):
                dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification=specification)
            if specification := properties.get("PointInTimeRecoverySpecification"):
                dynamodb.update_continuous_backups(
                    TableName=table, PointInTimeRecoverySpecification=specification
                )

    def apply_gateway_responses(self, template: dict, physical: dict[str, str]) -> None:
        """The emulator's import of an API leaves out what the gateway itself answers."""
        apigateway = self.client("apigateway")
        for logical, resource in resources(template, "AWS::Serverless::Api"):
            if logical not in physical:
                continue
            api = physical[logical]
            for kind, response in resource["Properties"].get("GatewayResponses", {}).items():
                headers = response.get("ResponseParameters", {}).get("Headers", {})
                status = {"statusCode": str(response["StatusCode"])} if "StatusCode" in response else {}
                apigateway.put_gateway_response(
                    restApiId=api,
                    responseType=kind,
                    responseParameters={f"gatewayresponse.header.{name}": value for name, value in headers.items()},
                    responseTemplates=response.get("ResponseTemplates", {}),
                    **status,
                )
            for stage in apigateway.get_stages(restApiId=api)["item"]:
                apigateway.create_deployment(restApiId=api, stageName=stage["stageName"])

    def api_url(self, outputs: dict[str, str]) -> str | None:
        """The emulator has no host name per API, so its address differs from the template's ApiUrl."""
        if "ApiId" not in outputs or "ApiStage" not in outputs:
            return None
        return f"{self.endpoint}/_aws/execute-api/{outputs['ApiId']}/{outputs['ApiStage']}"


def read_template(path: Path) -> dict:
    try:
        return yaml_parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DeploymentFailed(f"template {path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise DeploymentFailed(f"template {path} is not YAML: {error}") from error


def without_alarms(template: dict) -> dict:
    """Without alarms and gradual deployments: nobody looks here, and the emulator knows no metric math."""
    functions = [function["Properties"] for _, function in resources(template, "AWS::Serverless::Function")]
    for properties in (template["Globals"]["Function"], *functions):
        properties.pop("DeploymentPreference", None)
    for name, resource in list(template["Resources"].items()):
        if name.startswith("Fn::ForEach::"):
            resource[2] = {inner: it for inner, it in resource[2].items() if not is_alarm(it)}
            is_left_out = not resource[2]
        else:
            is_left_out = is_alarm(resource)
        if is_left_out:
            del template["Resources"][name]
    return template


def resources(template: dict, kind: str) -> list[tuple[str, dict]]:
    """Logical ids and resources of one type, without those that a loop makes."""
    found = template["Resources"].items()
    return [(name, it) for name, it in found if isinstance(it, dict) and it["Type"] == kind]


def is_alarm(resource: dict) -> bool:
    return resource["Type"] == "AWS::CloudWatch::Alarm"


def binary_of(resource: dict) -> str:
    """`target/lambda/<binary>/bootstrap.zip` is where `make package` leaves it."""
    return Path(resource["Properties"]["CodeUri"]).parent.name


def pack(executable: Path) -> bytes:
    """A Lambda package: the executable under the name that the runtime looks for."""
    if not executable.is_file():
        raise DeploymentFailed(f"{executable} is missing: build the functions first (`make test` does)")
    entry = zipfile.ZipInfo("bootstrap")  # a fixed date, so that the same binary makes the same package
    entry.external_attr = 0o755 << 16
    entry.compress_type = zipfile.ZIP_STORED  # compressing takes longer than carrying the bytes next door
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(entry, executable.read_bytes())
    return target.getvalue()
