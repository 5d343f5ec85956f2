"""Settings: found, merged, expanded, checked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import platformdirs.macos
import platformdirs.unix
import pydantic
import pytest

from zen_mcp.config.agent_schema import AgentOutput, AgentSettings
from zen_mcp.config.alert_schema import (
    AlertSettings,
    AlertsFile,
    AlertTable,
    ChannelSettings,
    CostAlert,
    ErrorRateAlert,
    LatencyAlert,
    LimitUseAlert,
    PercentAlert,
)
from zen_mcp.config.folders import FILE_NAMES, cache_path, config_files, state_path, user_config_path
from zen_mcp.config.http_schema import AuthSettings, GrantSettings, HttpSettings, JwtSettings
from zen_mcp.config.limit_schema import Budget, Budgets, Limit, LimitsFile, RateLimits
from zen_mcp.config.load import load_config
from zen_mcp.config.model_schema import (
    CapabilitySettings,
    CapacitySettings,
    DeploymentSettings,
    ModelSettings,
    ModelsFile,
)
from zen_mcp.config.provider_schema import Group, ProvidersFile, Routing, WeightedModel
from zen_mcp.config.schema import (
    CacheSettings,
    Config,
    LedgerSettings,
    LocalSettings,
    LogSettings,
    MetricsSettings,
    MiddlewareSettings,
    SemanticSettings,
    ServerSettings,
    TelemetrySettings,
)
from zen_mcp.config.tool_schema import OneToolSettings
from zen_mcp.config.values import Settings
from zen_mcp.errors import ConfigError


class Home:
    """A user's folders, all of them empty at first."""

    def __init__(self, root: Path) -> None:
        self.user = root / "user"
        self.work = root / "work"
        self.named = root / "named"
        self.project = self.work / ".zen"
        self.cache = root / "cache"
        for folder in (self.user, self.project, self.named):
            folder.mkdir(parents=True)

    def load(self, environ: Mapping[str, str] | None = None, directory: Path | None = None) -> Config:
        return load_config(
            directory,
            environ={"ZEN_CACHE_DIR": str(self.cache), **(environ or {})},
            working_directory=self.work,
            user_directory=self.user,
        )

    def fault(self, environ: Mapping[str, str] | None = None, directory: Path | None = None) -> ConfigError:
        with pytest.raises(ConfigError) as caught:
            self.load(environ, directory)
        return caught.value


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_without_any_file_the_packaged_settings_apply(home: Home) -> None:
    config = home.load()
    assert config.server == ServerSettings(agents=config.server.agents)
    assert sorted(config.server.agents) == ["claude", "codex", "gemini", "opencode"]
    assert not any(agent.allow_write for agent in config.server.agents.values())
    assert 45 <= len(config.models) <= 60
    assert {entry.place.layer for entry in config.models.values()} == {"packaged"}


def test_a_later_layer_changes_one_field_of_one_entry(home: Home) -> None:
    (home.user / "models.yaml").write_text("models:\n  claude-opus-5-5: {timeout_seconds: 30}\n")
    before = load_config(environ={}, working_directory=home.named, user_directory=home.named).models
    after = home.load().models
    assert after["claude-opus-5-5"].settings == before["claude-opus-5-5"].settings.model_copy(
        update={"timeout_seconds": 30.0}
    )
    assert after["gpt-6-sol"].settings == before["gpt-6-sol"].settings


def test_an_entry_is_changed_by_its_alias_too(home: Home) -> None:
    (home.user / "models.yaml").write_text("models:\n  Opus: {timeout_seconds: 30, capabilities: {vision: false}}\n")
    config = home.load()
    assert "Opus" not in config.models
    opus = config.models["claude-opus-5-5"]
    assert (opus.settings.timeout_seconds, opus.settings.capabilities.vision) == (30.0, False)
    assert opus.user_place is not None
    assert (opus.user_place.file, opus.user_place.line) == (str(home.user / "models.yaml"), 2)


def test_the_layers_win_in_their_order(home: Home) -> None:
    (home.user / "server.yaml").write_text("default_model: gpt\nheartbeat_seconds: 1\nmax_file_bytes: 1\n")
    (home.project / "server.yaml").write_text("default_model: sonnet\nheartbeat_seconds: 2\n")
    (home.named / "server.yaml").write_text("default_model: opus\n")
    server = home.load({"ZEN_CONFIG_DIR": str(home.named)}).server
    assert (server.default_model, server.heartbeat_seconds, server.max_file_bytes) == ("opus", 2.0, 1)
    argument = home.work / "argument"
    argument.mkdir()
    (argument / "server.yaml").write_text("default_model: flash\n")
    environ = {"ZEN_CONFIG_DIR": str(home.named)}
    assert home.load(environ, argument).server.default_model == "flash"
    assert home.load({**environ, "DEFAULT_MODEL": "haiku"}, argument).server.default_model == "haiku"


def test_null_removes_an_entry_and_an_empty_section_removes_nothing(home: Home) -> None:
    (home.user / "models.yaml").write_text("models:\n")
    assert "o3" in home.load().models
    (home.user / "models.yaml").write_text("models:\n  o3: null\n  opus: ~\n")
    assert {"o3", "claude-opus-5-5"}.isdisjoint(home.load().models)


def test_the_environment_overrides_server_yaml(home: Home) -> None:
    server = home.load(
        {
            "DISABLED_TOOLS": "consensus, version",
            "ZEN_LOG_LEVEL": "debug",
            "ZEN_PRELUDE": "0",
            "ZEN_STATE_DIR": str(home.named),
            "ZEN_TOOLS": "full",
        }
    ).server
    assert server.disabled_tools == ("consensus", "version")
    assert (server.log.level, server.prelude, server.state_dir, server.tools) == ("DEBUG", False, home.named, ("full",))


def test_variables_are_filled_in_and_their_origin_is_known(home: Home) -> None:
    (home.user / "models.yaml").write_text(
        "models:\n  mine:\n    provider: custom\n    base_url: ${GPU_URL:-http://${GPU_HOST:-gpu}:8000/v1}\n"
        "    api_key: ${GPU_KEY}\n    context_window: ${GPU_WINDOW:-4096}\n    description: costs $${5}\n"
    )
    (home.user / ".env").write_text("# keys\nexport GPU_KEY='from-user-file'\nGPU_HOST=box # where\nGPU_WINDOW=\n")
    config = home.load({"GPU_HOST": "real"})
    mine = config.models["mine"].settings
    assert mine.base_url == "http://real:8000/v1"
    assert (mine.api_key, mine.context_window, mine.description) == ("from-user-file", 4096, "costs ${5}")
    assert config.environment.source("GPU_HOST") == "environment"
    assert config.environment.source("GPU_KEY") == str(home.user / ".env")
    assert config.environment.source("GPU_WINDOW") is None
    assert "from-user-file" not in repr(config.environment)


def test_a_projects_own_dotenv_file_is_never_read(home: Home) -> None:
    (home.work / ".env").write_text("OPENAI_API_KEY=not-ours\n")
    assert home.load().environment.get("OPENAI_API_KEY") is None


def test_a_missing_variable_in_a_key_makes_the_model_unavailable_and_elsewhere_is_an_error(home: Home) -> None:
    (home.user / "models.yaml").write_text(
        "models:\n  mine: {provider: custom, base_url: 'http://x', api_key: '${NO_KEY}'}\n"
    )
    assert dict(home.load().models["mine"].missing) == {"api_key": ("NO_KEY",)}
    (home.user / "models.yaml").write_text(
        "models:\n  mine:\n    provider: custom\n    base_url: http://x\n    description: ${NO_TEXT}\n"
    )
    fault = home.fault()
    assert (
        fault.problem == f"{home.user / 'models.yaml'}:5: models.mine.description: the variable 'NO_TEXT' is not set."
    )
    assert fault.fix == "Set it, or write '${NO_TEXT:-a default}'."


def test_an_unknown_key_is_named_with_file_line_and_the_nearest_one(home: Home) -> None:
    (home.user / "models.yaml").write_text("# mine\nmodels:\n  opus:\n    contxt_window: 5\n")
    fault = home.fault()
    file = home.user / "models.yaml"
    assert fault.problem == f"{file}:4: models.claude-opus-5-5.contxt_window: unknown key 'contxt_window'."
    assert fault.fix == "Did you mean 'context_window'?"


@pytest.mark.parametrize(
    ("file", "text", "line", "says"),
    [
        ("server.yaml", "heartbeat_second: 3\n", 1, "Did you mean 'heartbeat_seconds'?"),
        ("server.yaml", "log: {leveel: INFO}\n", 1, "log.leveel: unknown key 'leveel'. Did you mean 'level'?"),
        ("server.yaml", "log:\n  level: LOUD\n", 2, "log.level: 'LOUD' must be 'DEBUG', 'INFO'"),
        ("server.yaml", "max_file_bytes: many\n", 1, "max_file_bytes: 'many' must be a whole number."),
        ("server.yaml", "heartbeat_seconds: true\n", 1, "heartbeat_seconds: 'true' must be a number."),
        ("server.yaml", "heartbeat_seconds: .nan\n", 1, "must be"),
        ("server.yaml", "prelude: perhaps\n", 1, "prelude: 'perhaps' must be true or false."),
        ("server.yaml", "default_model: 5\n", 1, "default_model: '5' must be text. Put it in quotes."),
        ("server.yaml", "disabled_tools: {a: 1}\n", 1, "disabled_tools: must be a list."),
        ("server.yaml", "version: '2.0'\n", 1, "version: '2.0' must be '1.0'."),
        ("server.yaml", "log: loud\n", 1, "log: 'loud' must be a mapping of settings."),
        ("server.yaml", "- a\n", 1, "the file is not a mapping."),
        ("server.yaml", "just words\n", 1, "the file is not a mapping."),
        ("server.yaml", "a: [1\nb: 2\n", 2, "this is not valid YAML"),
        ("server.yaml", "log: {level: INFO}\nlog: {level: DEBUG}\n", 2, "'log' is written twice, first in line 1."),
        ("server.yaml", "1: 2\n", 1, "the key '1' is not text. Put it in quotes."),
        ("server.yaml", "default_model: ${OPEN\n", 1, "'${' has no closing '}'."),
        ("server.yaml", "default_model: ${NOT-THIS}\n", 1, "it is neither '${NAME}' nor '${NAME:-default}'."),
        ("server.yaml", "default_model: !!python/object:os.system x\n", 1, "this is not valid YAML"),
        ("models.yaml", "models: []\n", 1, "models: must be a mapping of names to values."),
        ("models.yaml", "models:\n  a: {litellm_model: mine}\n", 2, "models.a: 'provider' is missing."),
        (
            "models.yaml",
            "models:\n  opus: {input_cost_per_token: -1}\n",
            2,
            "input_cost_per_token: '-1' must be 0 or more.",
        ),
        ("models.yaml", "models:\n  opus: {context_window: 0}\n", 2, "context_window: '0' must be more than 0."),
        ("models.yaml", "models:\n  opus: {capabilities: {visio: true}}\n", 2, "Did you mean 'vision'?"),
        ("models.yaml", "models:\n  opus: {extra: {api_base: 'http://x'}}\n", 2, "use the entry's own 'base_url'"),
        ("models.yaml", "models:\n  opus: {vertex_location: evil.com/#}\n", 2, "may hold letters, digits"),
        ("models.yaml", "models:\n  auto: {provider: openai}\n", 2, "'auto' is taken"),
        (
            "providers.yaml",
            "providers:\n  primary:\n    - {model: a, weight: -1}\n",
            3,
            "primary[0].weight: '-1' must be 0 or more",
        ),
        ("providers.yaml", "providers: {fallback_chains: [a]}\n", 1, "Did you mean 'fallback_chain'?"),
        ("limits.yaml", "rate_limit: {}\n", 1, "Did you mean 'rate_limits'?"),
        ("limits.yaml", "rate_limits:\n  globl: {}\n", 2, "Did you mean 'global'?"),
        (
            "limits.yaml",
            "rate_limits: {per_tool: {chat: {requests_per_minut: 1}}}\n",
            1,
            "Did you mean 'requests_per_minute'?",
        ),
        ("limits.yaml", "rate_limits: {global: {requests_per_minute: 0}}\n", 1, "must be more than 0."),
        ("limits.yaml", "rate_limits:\n  per_user:\n    tokens_per_day: -5\n", 3, "'-5' must be more than 0."),
        ("limits.yaml", "rate_limits:\n  per_user: {requests_per_hour: 1.5}\n", 2, "must be a whole number."),
        ("limits.yaml", "rate_limits: {global: {dollars_per_day: 0}}\n", 1, "'0' must be more than 0."),
        ("limits.yaml", "budgets:\n  global: {dya: 5}\n", 2, "Did you mean 'day'?"),
        ("limits.yaml", "budgets:\n  per_user: {day: 0}\n", 2, "budgets.per_user.day: '0' must be more than 0."),
        ("limits.yaml", "budgets:\n  warn_percent: 120\n", 2, "'120' must be 100 or less."),
        ("limits.yaml", "budgets: {on_panel: shrnk}\n", 1, "Did you mean 'shrink'?"),
        ("limits.yaml", "budgets: {when_redis_is_away: opened}\n", 1, "Did you mean 'open'?"),
    ],
)
def test_a_wrong_setting_is_reported_with_its_line(home: Home, file: str, text: str, line: int, says: str) -> None:
    (home.user / file).write_text(text)
    message = str(home.fault())
    assert message.startswith(f"{home.user / file}:{line}: ")
    assert says in message


def test_all_faults_of_all_files_are_reported_at_once(home: Home) -> None:
    (home.user / "server.yaml").write_text("default_modle: opus\nmax_file_bytes: -3\n")
    (home.user / "limits.yaml").write_text("rate_limits: 5\n")
    (home.user / ".env").write_text("A=1\nthis line is secret\n")
    lines = str(home.fault()).splitlines()
    assert len(lines) == 4
    assert lines[0] == f"{home.user / '.env'}:2: this line is not NAME=value. Comments begin with '#'."


def test_an_empty_file_is_fine_and_one_that_is_not_text_is_not(home: Home) -> None:
    for name in ("models", "providers", "limits", "server"):
        (home.user / f"{name}.yaml").write_text("# nothing yet\n")
    server = home.load().server
    assert server == ServerSettings(agents=server.agents)
    (home.user / "server.yaml").write_bytes(b"default_model: \xff\xfe\n")
    assert str(home.fault()) == f"{home.user / 'server.yaml'}: this is not UTF-8 text. Save it as UTF-8."


def test_aliases_that_blow_up_are_refused(home: Home) -> None:
    levels = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))]
    (home.user / "server.yaml").write_text("\n".join(levels) + "\n")
    assert "this is not valid YAML" in str(home.fault())


def test_no_key_and_no_value_of_a_variable_is_ever_in_an_error(home: Home) -> None:
    (home.user / "models.yaml").write_text(
        "models:\n  a: {provider: custom, base_url: 'http://x', api_key: [sk-literal], context_window: '${WINDOW}'}\n"
        "  b: {provider: custom, extra: {k: [sk-literal]}, api_key: 12345678}\n"
    )
    message = str(home.fault({"WINDOW": "sk-in-variable"}))
    assert "models.a.context_window: must be a whole number." in message
    assert "sk-" not in message
    assert "12345678" not in message


def test_an_alias_claimed_twice_in_one_file_is_an_error_naming_both(home: Home) -> None:
    (home.user / "models.yaml").write_text(
        "models:\n  one: {provider: openai, aliases: [x]}\n  two: {provider: openai, aliases: [X]}\n"
    )
    file = home.user / "models.yaml"
    assert str(home.fault()) == (
        f"{file}:3: models.two.aliases: 'X' is claimed by 'one' ({file}:2) and by 'two'. "
        "Each name and alias may stand once."
    )


def test_an_alias_of_a_lower_layer_can_be_taken_over(home: Home) -> None:
    (home.user / "models.yaml").write_text("models:\n  mine: {provider: openai, aliases: [Opus]}\n")
    models = home.load().models
    assert models["mine"].settings.aliases == ("Opus",)
    assert "opus" not in models["claude-opus-5-5"].settings.aliases


def test_a_folder_that_was_named_must_exist(home: Home) -> None:
    gone = home.work / "gone"
    assert f"--config: there is no folder '{gone}'." in str(home.fault(directory=gone))
    assert f"ZEN_CONFIG_DIR: there is no folder '{gone}'." in str(home.fault({"ZEN_CONFIG_DIR": str(gone)}))


def test_paths_are_relative_to_the_file_they_stand_in(home: Home) -> None:
    (home.user / "server.yaml").write_text("roots: [code, /srv]\nlog: {file: zen.log}\nstate_dir: state\n")
    (home.user / "models.yaml").write_text("models:\n  mine: {provider: local, weights: models/mine.gguf}\n")
    config = home.load()
    assert config.server.roots == (home.user / "code", Path("/srv"))
    assert (config.server.log.file, config.server.state_dir) == (home.user / "zen.log", home.user / "state")
    assert config.models["mine"].settings.weights == str(home.user / "models/mine.gguf")


@pytest.mark.parametrize(
    "text",
    ["plugin_folders: [x]", "allow_secret_files: true", "roots: [/]", "state_dir: x", "log: {file: x}"],
)
def test_a_checkouts_own_folder_cannot_widen_what_the_server_may_do(home: Home, text: str) -> None:
    (home.project / "server.yaml").write_text(text + "\n")
    assert "cannot be set by the working directory's own '.zen' folder" in str(home.fault())
    assert home.load(directory=home.project).server != ServerSettings()


def test_loaded_settings_cannot_be_changed(home: Home) -> None:
    config = home.load()
    with pytest.raises(pydantic.ValidationError):
        config.server.default_model = "opus"
    with pytest.raises(TypeError):
        config.models["x"] = config.models["o3"]  # pyright: ignore[reportIndexIssue] - that is the point
    with pytest.raises(TypeError):
        config.models["o3"].settings.extra["x"] = "y"  # pyright: ignore[reportIndexIssue]
    with pytest.raises(TypeError):
        config.limits.rate_limits.per_tool["x"] = Limit()  # pyright: ignore[reportIndexIssue]


def test_the_files_to_watch_are_all_that_could_be_read(home: Home) -> None:
    files = config_files(
        home.named, environ={"ZEN_CONFIG_DIR": "other"}, working_directory=home.work, user_directory=home.user
    )
    folders = list(dict.fromkeys(file.parent for file in files))
    assert folders[1:] == [home.user, home.project, home.work / "other", home.named]
    assert [file.name for file in files[:6]] == [*FILE_NAMES, ".env"]
    assert len(files) == 30


def test_the_folders_are_those_of_platformdirs(monkeypatch: pytest.MonkeyPatch) -> None:
    for variables in ({}, {"XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "/k"}):
        for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        environ = {"HOME": "/home/ann", **variables}
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        for platform, kind in (("linux", platformdirs.unix.Unix), ("darwin", platformdirs.macos.MacOS)):
            expected = kind("zen-mcp", appauthor=False)
            assert user_config_path(environ, platform=platform) == expected.user_config_dir
            assert state_path(environ, platform=platform) == expected.user_state_dir
            assert cache_path(environ, platform=platform) == expected.user_cache_dir


def test_on_windows_the_folders_lie_in_local_appdata() -> None:
    environ = {"LOCALAPPDATA": r"C:\Users\ann\AppData\Local"}
    assert user_config_path(environ, platform="win32") == r"C:\Users\ann\AppData\Local\zen-mcp"
    assert state_path(environ, platform="win32") == r"C:\Users\ann\AppData\Local\zen-mcp"
    assert cache_path(environ, platform="win32") == r"C:\Users\ann\AppData\Local\zen-mcp\Cache"


def test_the_folders_module_imports_nothing_heavy() -> None:
    code = (
        "import sys; import zen_mcp.config.folders as f; f.cache_path({'HOME': '/h'}); "
        "print(sorted({'pathlib', 'pydantic', 'yaml', 'platformdirs', 'typing', 're'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.strip() == "[]"


DOCUMENTED: tuple[type[Settings], ...] = (
    ModelsFile,
    ModelSettings,
    CapabilitySettings,
    DeploymentSettings,
    ServerSettings,
    LogSettings,
    MiddlewareSettings,
    CacheSettings,
    SemanticSettings,
    LedgerSettings,
    MetricsSettings,
    TelemetrySettings,
    LocalSettings,
    AgentSettings,
    AgentOutput,
    HttpSettings,
    AuthSettings,
    JwtSettings,
    GrantSettings,
    OneToolSettings,
    ProvidersFile,
    Routing,
    Group,
    WeightedModel,
    LimitsFile,
    RateLimits,
    Limit,
    Budgets,
    Budget,
    AlertsFile,
    AlertTable,
    AlertSettings,
    ChannelSettings,
    ErrorRateAlert,
    LatencyAlert,
    CostAlert,
    LimitUseAlert,
)


def test_every_setting_is_documented_with_its_default() -> None:
    text = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = set(text.splitlines())
    expected = [_row(name, schema) for schema in DOCUMENTED for name in schema.model_fields]
    assert [row for row in expected if row not in rows] == []


def test_every_part_of_the_settings_is_in_the_documented_list() -> None:
    kinds = [*Settings.__subclasses__(), *CapacitySettings.__subclasses__()]
    parts = {schema for schema in kinds if schema.__module__.startswith("zen_mcp.config")}
    alerts = {*AlertSettings.__subclasses__(), *PercentAlert.__subclasses__()} - {PercentAlert}
    assert parts | alerts == {*DOCUMENTED, CapacitySettings}


def _row(name: str, schema: type[Settings]) -> str:
    field = schema.model_fields[name]
    default = "" if field.default_factory is not None or field.is_required() else _default(field.default)
    return f"| `{field.alias or name}` | {default} | {field.description} |".replace("|  |", "| |")


def _default(value: object) -> str:
    if value is None or value in ("", (), {}):
        return ""
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value)  # pyright: ignore[reportUnknownVariableType] - any items
    return (
        f"`{str(value).lower()}`"
        if isinstance(value, bool)
        else f"`{value:g}`"
        if isinstance(value, float)
        else f"`{value}`"
    )
