"""Runs every test of the workspace, two programs at a time: `make test`.

`cargo test` runs one test program after the other. Most of ours wait for a local AWS of their own, which is one thread, so
on two cores it takes twice as long as it must. What is built, and with which features, stays cargo's affair.
"""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE, STDOUT

AT_ONCE = 2
# What takes longest begins first, or it is alone in the end.
LONGEST = ["local", "day-closer", "normalizer", "dead-letters", "shared", "sync-worker"]


def built(arguments: list[str]) -> list[tuple[str, str, Path]]:
    """Package, program and the package's folder of each."""
    command = ["cargo", "test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics", *arguments]
    output = subprocess.run(command, stdout=PIPE, text=True, check=True).stdout
    programs = []
    for line in output.splitlines():
        message = json.loads(line)
        if message["reason"] == "compiler-artifact" and message["profile"]["test"] and message["executable"]:
            folder = Path(message["manifest_path"]).parent
            programs.append((folder.name, message["executable"], folder))
    return programs


def run(package: str, program: str, folder: Path) -> bool:
    """Each test is told of when it ends, and what is skipped; all that a program says, if it fails."""
    started = time.monotonic()
    # As cargo does it: https://doc.rust-lang.org/cargo/reference/environment-variables.html
    environment = os.environ | {"CARGO_MANIFEST_DIR": str(folder), "CARGO_PKG_NAME": package}
    said = []
    with subprocess.Popen(
        [program], cwd=folder, env=environment, stdout=PIPE, stderr=STDOUT, text=True, errors="replace"
    ) as child:
        for line in child.stdout:
            said.append(line)
            if line.startswith("test ") or "SKIPPED" in line:
                print(f"{package}: {line}", end="", flush=True)
    if child.returncode:
        print(f"{package}: {program} says:\n{''.join(said)}")
    verdict = "FAILED" if child.returncode else "passed"
    print(f"{package}: {verdict} in {time.monotonic() - started:.0f} s", flush=True)
    return not child.returncode


def main() -> None:
    programs = built(sys.argv[1:])
    programs.sort(key=lambda it: LONGEST.index(it[0]) if it[0] in LONGEST else len(LONGEST))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        passed = list(pool.map(lambda program: run(*program), programs))
    failed = [f"{package}: {program}" for (package, program, _), has_passed in zip(programs, passed) if not has_passed]
    if failed:
        sys.exit("tests failed:\n  " + "\n  ".join(failed))


main()
