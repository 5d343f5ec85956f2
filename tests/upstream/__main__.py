"""`python -m tests.upstream [--port N]`: an upstream in a process of its own; prints its address."""

from __future__ import annotations

import argparse
import sys

from tests.upstream.server import Upstream

parser = argparse.ArgumentParser(description="A loopback OpenAI-compatible server for tests and benchmarks")
parser.add_argument("--port", type=int, default=0)
with Upstream(parser.parse_args().port) as upstream:
    sys.stdout.write(upstream.url + "\n")
    sys.stdout.flush()
    upstream.wait()
