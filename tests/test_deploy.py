"""deploy/: the image's recipe, the compose file, the chart and the unit, checked by the tools that know them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from filelock import FileLock

from zen_mcp.config.load import load_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "zen"
KUBERNETES = "1.31.0"
VARIABLES = {
    "DATABASE_URL": "postgresql://zen:password@postgres:5432/zen",
    "REDIS_URL": "redis://valkey:6379/0",
    "STATE_KEY": "fedcba9876543210fedcba9876543210",
    "METRICS_TOKEN": "0123456789abcdef0123456789abcdef",
    "ZEN_HOST": "zen.example.com",
}
_RENDER = """
import json, sys
import helm_python as helm
chart, values = sys.argv[1], json.loads(sys.argv[2])
with helm.Chart.load(chart) as loaded:
    loaded.validate_schema(values)
    print(json.dumps(loaded.render(values, name="team", namespace="zen")))
"""
_LINT = """
import json, sys
import helm_python as helm
print(json.dumps(helm.lint(sys.argv[1], values=json.loads(sys.argv[2])), default=str))
"""


@pytest.fixture(scope="session")
def checkers() -> Path:
    """A folder with the tools of requirements/deploy.txt, installed once."""
    lock = (ROOT / "requirements" / "deploy.txt").read_bytes()
    folder = ROOT / ".venv" / f".deploy-{hashlib.sha256(lock).hexdigest()[:12]}"
    with FileLock(f"{folder}.lock"):
        if not (folder / ".ready").exists():
            uv = str(Path(sys.executable).with_name("uv"))
            command = [uv, "pip", "install", "-q", "--require-hashes", "--target", str(folder), "-r"]
            subprocess.run([*command, "requirements/deploy.txt"], cwd=ROOT, check=True, timeout=280)
            (folder / ".ready").touch()
    return folder


def run(checkers: Path, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run one of the tools; Python's find their packages in their folder."""
    environment = {**os.environ, "PYTHONPATH": str(checkers), "PATH": f"{checkers / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT, **options
    )


def rendered(checkers: Path, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the chart makes of these values, as Kubernetes would get it."""
    done = run(checkers, sys.executable, "-c", _RENDER, str(CHART), json.dumps(values))
    assert done.returncode == 0, done.stderr
    files = cast("dict[str, str]", json.loads(done.stdout))
    texts = [text for name, text in sorted(files.items()) if name.endswith(".yaml")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def settings_in(folder: Path, documents: list[dict[str, Any]], without: str = "") -> Any:
    """The settings files of the chart, loaded as the server does; `without`: a variable that is not set."""
    data = next(one["data"] for one in documents if one["kind"] == "ConfigMap")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in data.items():
        (folder / name).write_text(text, encoding="utf-8")
    environ = {name: value for name, value in VARIABLES.items() if name != without}
    return load_config(folder, environ=environ, working_directory=folder, user_directory=folder / "none")


def test_the_dockerfile_passes_its_linter_and_copies_what_is_there(checkers: Path) -> None:
    file = DEPLOY / "docker" / "Dockerfile"
    done = run(checkers, "hadolint", str(file))
    assert done.returncode == 0, done.stdout
    text = file.read_text(encoding="utf-8")
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source.partition("/")[0] in let_in, f"{source} is kept out by .dockerignore"
    assert "USER 10001" in text


def test_the_compose_file_is_valid_and_its_settings_load(checkers: Path) -> None:
    file = DEPLOY / "docker" / "compose.yaml"
    done = run(checkers, "check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    zen = yaml.safe_load(file.read_text(encoding="utf-8"))["services"]["zen"]
    assert zen["read_only"] is True
    folder = DEPLOY / "docker" / "config"
    config = load_config(folder, environ=VARIABLES, working_directory=folder, user_directory=folder / "none")
    assert config.server.http.allowed_hosts[0] == "zen.example.com"
    assert config.server.auth.tokens is True
    assert config.server.database_url == VARIABLES["DATABASE_URL"]
    assert config.server.http.state_key == (VARIABLES["STATE_KEY"],)
    assert "STATE_KEY" in zen["environment"]


EVERYTHING: dict[str, Any] = {
    "allowedHosts": ["zen.example.com"],
    "ingress": {"enabled": True, "className": "nginx", "tlsSecretName": "tls", "annotations": {"a": "b"}},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "secret": {"DATABASE_URL": "postgresql://x", "REDIS_URL": "redis://x"},
    "settings": {
        "server": {"default_panel": ["opus", "gpt"], "http": {"drain_seconds": 20}},
        "limits": {"rate_limits": {"global": {"requests_per_minute": 100}}},
    },
    "podAnnotations": {"note": "yes"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
}


@pytest.mark.parametrize("values", [{"allowedHosts": ["zen.example.com"]}, EVERYTHING], ids=["least", "everything"])
def test_the_chart_renders_what_kubernetes_takes(checkers: Path, tmp_path: Path, values: dict[str, Any]) -> None:
    documents = rendered(checkers, values)
    kinds = {document["kind"] for document in documents}
    assert {"ConfigMap", "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"} <= kinds
    assert ({"Ingress", "ServiceMonitor", "Secret"} <= kinds) == (values is EVERYTHING)
    known = [document for document in documents if document["kind"] != "ServiceMonitor"]
    file = tmp_path / "documents.yaml"
    file.write_text(yaml.safe_dump_all(known), encoding="utf-8")
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", "-k", KUBERNETES, str(file)]
    done = run(checkers, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    pod = next(one for one in documents if one["kind"] == "Deployment")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    config = settings_in(tmp_path / "settings", documents)
    assert config.server.http.allowed_hosts == ("zen.example.com", "localhost")
    assert config.server.http.state_key == (VARIABLES["STATE_KEY"],)
    older = settings_in(tmp_path / "older", documents, without="STATE_KEY")
    assert older.server.http.state_key == (), "a secret from before there was a key in it is good enough to start"
    assert pod["terminationGracePeriodSeconds"] > config.server.http.drain_seconds
    if values is EVERYTHING:
        assert config.server.default_panel == ("opus", "gpt")
        assert config.server.http.metrics_token == VARIABLES["METRICS_TOKEN"]
        assert config.limits.rate_limits.everything.requests_per_minute == 100


def test_the_chart_passes_its_linter_and_refuses_wrong_values(checkers: Path) -> None:
    done = run(checkers, sys.executable, "-c", _LINT, str(CHART), json.dumps(EVERYTHING))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["errors"] == []
    for values, reason in (({}, "allowedHosts"), ({"allowedHosts": ["a"], "replicas": 0}, "replicas")):
        done = run(checkers, sys.executable, "-c", _RENDER, str(CHART), json.dumps(values))
        assert done.returncode != 0
        assert reason in done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    text = (DEPLOY / "systemd" / "zen.service").read_text(encoding="utf-8")
    assert "/opt/zen/bin/zen serve --http" in text
    unit = tmp_path / "zen.service"
    unit.write_text(text.replace("/opt/zen/bin/zen", sys.executable), encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    ours = [line for line in done.stderr.splitlines() if "zen.service" in line]
    assert ours == []


def test_the_charts_version_is_the_servers() -> None:
    import zen_mcp  # noqa: PLC0415 - only its version

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == zen_mcp.__version__
