"""Stands in for docker, nerdctl and kubectl: checks how it is called, notes it, and hands over to podman.

It is called by the name of the engine. What that engine would not understand ends with status 64.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

FORMAT = "{{.ID}}\t{{.Names}}\t{{.Status}}"
# Global options, then how PowerShell is started.
GLOBAL = {"docker": r"--context=\S+", "nerdctl": r"--namespace=\S+", "kubectl": r"--(?:context|namespace)=\S+"}
PODMAN_EXEC = ["podman", "exec", "--interactive", "--detach-keys="]


def fail(words):
    sys.stderr.write(f"the stand-in does not know: {words}\n")
    sys.exit(64)


def like_docker(words):
    match words:
        case ["ps", "--all", "--no-trunc", "--format", form] if form == FORMAT:
            os.execvp("podman", ["podman", *words])
        case ["container", "inspect", "--format", "{{.Platform}}", _]:
            print(os.environ.get("STAND_IN_PLATFORM", "linux"))
        case ["exec", "--interactive", *rest]:
            user = [rest.pop(0)] if rest[0].startswith("--user=") else []
            if rest[0].startswith("-"):
                fail(words)
            os.execvp("podman", [*PODMAN_EXEC, *user, *rest])
        case _:
            fail(words)


def kubectl(words):
    match words:
        case ["get", "pod", name, "--output=json"]:
            form = "{{.State.Status}}"
            inspect = ["podman", "inspect", "--format", form, name]
            found = subprocess.run(inspect, capture_output=True, text=True, check=False)
            if found.returncode:
                sys.stderr.write(f'Error from server (NotFound): pods "{name}" not found\n')
                sys.exit(1)
            state = found.stdout.strip()
            names = os.environ.get("STAND_IN_CONTAINERS", "main").split(",")
            statuses = [{"name": each, "state": {state: {}}} for each in names]
            pod = {
                "metadata": {"name": name},
                "spec": {"containers": [{"name": each} for each in names]},
                "status": {"phase": state.capitalize(), "containerStatuses": statuses},
            }
            print(json.dumps(pod))
        case ["exec", "--stdin", inside, name, "--", *command] if inside.startswith("--container="):
            os.execvp("podman", [*PODMAN_EXEC, name, *command])
        case _:
            fail(words)


def main():
    engine = pathlib.Path(sys.argv[0]).name
    words = sys.argv[1:]
    with pathlib.Path(os.environ["STAND_IN_LOG"]).open("a") as log:
        log.write(json.dumps([engine, *words]) + "\n")
    while words and re.fullmatch(GLOBAL[engine], words[0]):
        words.pop(0)
    kubectl(words) if engine == "kubectl" else like_docker(words)


main()
