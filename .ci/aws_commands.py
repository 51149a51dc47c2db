"""Checks the `aws` commands in the shell blocks of the given Markdown pages.

Bash runs each block with stubs for `aws`, `curl` and the project's programs, so quoting, substitution and
line continuation are those of a real shell. The AWS CLI then validates the operation and parameters of each
recorded `aws` call. A hook responds to the resulting request before it is sent.
"""

import io
import json
import os
import re
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout

from awscli.clidriver import create_clidriver

# The stub records each call as one line of JSON and prints a value, so that the block continues.
RECORDER = """\
set -u
aws() {{ {python} -c 'import json, sys; open(sys.argv[1], "a").write(json.dumps(sys.argv[2:]) + "\\n")' \\
  {calls} "$@"; echo 1; }}
curl() {{ echo '{{}}'; }}
cdk() {{ :; }}
npx() {{ :; }}
gh() {{ :; }}
vitrina() {{ :; }}
REGION=us-east-1 FUNCTION=function OPERATOR=operator PASSWORD=password CLUSTER=cluster PRODUCT=0198c0de-0000-7000-8000-0000000003ff BUCKET=7 MAPPING=00000000-0000-4000-8000-000000000000
"""
# The project's scripts, and tools that would build or deploy.
SKIPPED = re.compile(r"^\s*(infra/aws/\S+|npm|git|cargo)\b.*$", re.M)


def blocks(page):
    """The shell blocks of `page`, with list indentation removed."""
    for indent, block in re.findall(r"^( *)```sh\n(.*?)^ *```", page, re.M | re.S):
        yield re.sub(f"^{indent}", "", block, flags=re.M)


def calls_of(script, prelude):
    with tempfile.NamedTemporaryFile("r") as calls:
        recorder = RECORDER.format(python=sys.executable, calls=calls.name)
        script = SKIPPED.sub(":", script)
        result = subprocess.run(
            ["bash", "-c", recorder + prelude + "\n: > " + calls.name + "\n" + script],
            capture_output=True, text=True, env={"PATH": os.environ["PATH"]}, timeout=60,
        )
        if result.returncode != 0:
            return [], result.stderr
        return [json.loads(line) for line in calls], None


class Response:
    status_code = 200
    headers = {}


def fault_of(arguments):
    operations = []

    def respond(model, **_):
        operations.append(model.name)
        return Response(), {"Payload": io.BytesIO(b"")} if model.name == "Invoke" else {}

    # A new driver for each call, because it keeps the handlers of earlier calls.
    driver = create_clidriver()
    driver.session.register("before-call", respond)
    output = io.StringIO()
    with redirect_stdout(output), redirect_stderr(output):
        try:
            code = driver.main(arguments)
        except SystemExit as error:
            code = error.code
    if code == 0 and not operations:
        return "sends no request to AWS"
    return None if code == 0 else output.getvalue().strip()


def main(pages):
    os.environ.update(
        AWS_ACCESS_KEY_ID="none", AWS_SECRET_ACCESS_KEY="none", AWS_DEFAULT_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE=os.devnull,
    )
    texts = {page: open(page, encoding="utf-8").read() for page in pages}
    readme = next((text for page, text in texts.items() if page.endswith("runbooks/README.md")), "")
    prelude = "".join(blocks(readme))
    checked, faults, known = 0, [], set()
    for page, text in texts.items():
        for block in blocks(text):
            calls, failed = calls_of(block, prelude)
            if failed is not None:
                faults.append(f"{page}: bash failed\n{block}\n{failed}")
            for call in calls:
                checked += 1
                # Most calls read the same stack outputs.
                if tuple(call) in known:
                    continue
                known.add(tuple(call))
                fault = fault_of(call)
                if fault is not None:
                    faults.append(f"{page}: aws {' '.join(call)}\n{fault}")
    for fault in faults:
        print(fault, file=sys.stderr)
    if checked == 0:
        print("no aws command found in these pages; check the patterns of this script", file=sys.stderr)
    print(f"{len(known)} aws commands checked, {len(faults)} wrong")
    return 1 if faults or checked == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
