"""One process that is the whole local AWS: the emulator, with template.yaml deployed into it.

The Rust side (`local::Stack`) starts this file with a pipe as standard input and reads one JSON line from standard
output. The pipe is the leash: when its other end closes, however the parent died, this process ends itself and every
Lambda process it started. Progress goes to standard error.
"""

import argparse
import asyncio
import json
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from pathlib import Path

REGION = "us-east-1"
PREFERRED_PORT = 4566


def progress(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--template", type=Path, required=True)
    parser.add_argument("--binaries", type=Path, required=True, help="folder that holds one executable per function")
    parser.add_argument("--folder", type=Path, required=True, help="everything this process writes is below it")
    parser.add_argument("--port", type=int, default=None, help="0 = a free one; default 4566, or a free one if taken")
    parser.add_argument("--parameter", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--function-endpoint", help="where functions send their AWS calls (a recording proxy)")
    return parser.parse_args()


def listen(port: int | None) -> socket.socket:
    """Bound here and handed over as a descriptor, so that nobody can take the port in between."""
    candidates = [PREFERRED_PORT, 0] if port is None else [port]
    for candidate in candidates:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", candidate))
            return listener
        except OSError as error:
            listener.close()
            if candidate == candidates[-1]:
                sys.exit(f"port {candidate} of 127.0.0.1 cannot be opened: {error.strerror}")
    raise AssertionError("unreachable")


def replace_environment(folder: Path, port: int, function_endpoint: str) -> None:
    """Functions inherit this process's environment, so nothing of the developer's own account may be in it.

    The emulator reads most of these when it is imported: call this before.
    """
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "RUST_BACKTRACE") if name in os.environ}
    temporary = folder / "tmp"
    for path in (temporary, folder / "state", folder / "s3", folder / "logs"):
        path.mkdir(parents=True, exist_ok=True)
    os.environ.clear()
    os.environ.update(
        kept,
        AUTH="true",
        AWS_ACCESS_KEY_ID="test",
        AWS_DEFAULT_REGION=REGION,
        AWS_ENDPOINT_URL=function_endpoint,
        AWS_SECRET_ACCESS_KEY="test",
        BIND_HOST="127.0.0.1",
        GATEWAY_PORT=str(port),
        IOT_MTLS_ENABLED="0",
        MINISTACK_HOST="127.0.0.1",
        S3_DATA_DIR=str(folder / "s3"),
        SFTP_ENABLED="0",
        STATE_DIR=str(folder / "state"),
        TMPDIR=str(temporary),
    )


async def serve(listener: socket.socket, stop: asyncio.Event) -> None:
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config
    from ministack.app import app

    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.5
    config.loglevel = "WARNING"
    await hypercorn_serve(app, config, shutdown_trigger=stop.wait)


def follow_parent(stop) -> None:
    """Returns when the other end of standard input is gone."""
    while os.read(0, 4096):
        pass
    stop()


def deploy_and_announce(arguments: argparse.Namespace, endpoint: str, names: dict[str, str], stop) -> None:
    import deploy

    try:
        parameters = dict(pair.split("=", 1) for pair in arguments.parameter)
        stack = deploy.Deployer(endpoint, REGION, arguments.folder, names, progress)
        announcement = stack.deploy(arguments.template, arguments.binaries, parameters)
        announcement["folder"] = str(arguments.folder)
        print(json.dumps(announcement), flush=True)
    except deploy.DeploymentFailed as failure:
        progress(f"deployment failed: {failure}")
        stop(failed=True)
    except Exception as error:  # an emulator without a stack must not stay behind
        progress(f"deployment failed: {type(error).__name__}: {error}")
        stop(failed=True)


def main() -> int:
    started = time.monotonic()
    arguments = parse_arguments()
    # Arguments are relative to the caller; everything below is relative to nothing.
    arguments.folder = arguments.folder.resolve()
    listener = listen(arguments.port)
    port = listener.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    replace_environment(arguments.folder, port, arguments.function_endpoint or endpoint)

    import adapt

    names: dict[str, str] = {}
    adapt.apply(arguments.folder / "logs", names)
    failures: list[bool] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()

        def stop(failed: bool = False) -> None:
            failures.extend([True] if failed else [])
            # Connections that end with us are no news; asyncio reports each of them with a stack trace.
            logging.getLogger("asyncio").setLevel(logging.CRITICAL)
            loop.call_soon_threadsafe(stopping.set)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        threading.Thread(target=follow_parent, args=(stop,), daemon=True).start()
        threading.Thread(target=deploy_and_announce, args=(arguments, endpoint, names, stop), daemon=True).start()
        await serve(listener, stopping)

    progress(f"emulator: starting on {endpoint}")
    try:
        asyncio.run(run())
    finally:
        adapt.end_functions()
        for name in ("tmp", "state", "s3"):
            shutil.rmtree(arguments.folder / name, ignore_errors=True)
        progress(f"emulator: stopped after {time.monotonic() - started:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Worker threads of the emulator may sit in long polls; nothing is left for them to do.
    os._exit(code)
