"""Compares what template.yaml allows each function with what the functions did on the local stacks of the last test run.

The emulator refuses what no statement allows, and notes which statement allowed the rest (`adapt.record_permissions`).
Prints the table function x statement x action x resource, and fails when something was missing or is not used.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

from deploy import read_template, resources

# Lambda itself does these three with the function's role, to take messages for it; the emulator asks nobody.
POLLER = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}

# What no test does with the function's role, and why.
UNPLAYED = {
    # It takes a second key, which must exist before the stack. `functions/upkeep/tests/it/reseal.rs` plays it as root.
    ("UpkeepFunction", "WrapSecretsWithTheNewestKey", "kms:ReEncryptFrom"),
    ("UpkeepFunction", "WrapSecretsWithTheNewestKey", "kms:ReEncryptTo"),
    ("UpkeepFunction", "WrapSecretsWithTheNewestKey", "Key"),
    # A shop that a vendor shows anew is claimed, and one that it shows no longer given free; the simulator's shops stay.
    ("ConnectionsFunction", "ReadAndChangeConfigurations", "dynamodb:PutItem"),
    ("ConnectionsFunction", "ReadAndChangeConfigurations", "dynamodb:DeleteItem"),
}

# Which vendor a test plays is chance: what reads one application's secret reads the others' in the same way.
APPLICATIONS = {"SquareSecret", "ToastSecret", "LightspeedSecret"}

Use = tuple[str, str, str, str]  # function, statement, action, resource


def granted(template: dict) -> dict[tuple[str, str], tuple[set[str], set[str]]]:
    """(function, statement) -> its actions and its resources."""
    grants = {}
    for function, resource in resources(template, "AWS::Serverless::Function"):
        for policy in resource["Properties"].get("Policies", []):
            for statement in policy["Statement"]:
                named = {name for name in map(name_of, many(statement["Resource"])) if name}
                grants[function, statement["Sid"]] = (set(many(statement["Action"])), named)
    return grants


def many(value) -> list:
    return value if isinstance(value, list) else [value]


def name_of(reference: dict) -> str | None:
    """`!GetAtt Table.Arn` -> `Table`; `!Sub "${Table.Arn}/index/x"` -> `Table/index/x`. Optional ones have no name."""
    kind, value = next(iter(reference.items()))
    if kind == "Fn::GetAtt":
        return value[0] if isinstance(value, list) else value.partition(".")[0]
    if kind == "Fn::Sub":
        return value.replace("${", "").replace(".Arn}", "")
    return value if kind == "Ref" else None


def done(stacks: Path) -> set[Use]:
    """What functions did, in the template's words. An empty statement: nothing allowed it."""
    uses = set()
    for record in stacks.glob("*/permissions.jsonl"):
        physical = json.loads((record.parent / "resources.json").read_text(encoding="utf-8"))
        # Of a queue it is the URL.
        logical = {it.rpartition("/")[2]: name for name, it in physical.items()}
        for line in record.read_text(encoding="utf-8").splitlines():
            use = json.loads(line)
            function = logical.get(use["role"], use["role"]).removesuffix("Role")
            uses.add((function, use["sid"], use["action"], in_template(use["resource"], logical)))
    return uses


def in_template(arn: str, logical: dict[str, str]) -> str:
    """`arn:…:table/pos-Table-1A2B/index/x` -> `Table/index/x`"""
    kind, _, name = arn.split(":", 5)[-1].partition("/")
    if kind != "table":
        return logical.get(arn) or logical.get(name or kind, arn)
    table, slash, index = name.partition("/")
    return logical.get(table, table) + slash + index


def main(template: str, stacks: str) -> int:
    grants, uses = granted(read_template(Path(template))), done(Path(stacks))
    if not uses:
        sys.exit(f"nothing is recorded below {stacks}: run `make test` first")
    by_statement: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for function, sid, action, resource in uses:
        by_statement[function, sid].add((action, resource))

    faults = []
    for (function, sid), (actions, named) in grants.items():
        used = by_statement[function, sid]
        used |= {(action, resource) for action in actions & POLLER for resource in named}
        for action, resource in sorted(used):
            print(f"{function:24} {sid:40} {action:32} {resource}")
        played = {it for use in used for it in use}
        if played & APPLICATIONS:
            played |= APPLICATIONS
        for it in sorted((actions | named) - played):
            is_excused = (function, sid, it) in UNPLAYED
            print(f"{function:24} {sid:40} {it} is never used" + is_excused * " (see UNPLAYED)")
            faults += [f"{function} {sid}: {it} is never used"] * (not is_excused)
    functions = {function for function, _ in grants}
    for function, sid, action, resource in sorted(uses):
        if function in functions and not sid:
            faults.append(f"{function}: {action} on {resource} was refused")
    print(f"\n{len(grants)} statements of {len(functions)} functions, {len(uses)} different uses, {len(faults)} faults")
    print(*faults, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
