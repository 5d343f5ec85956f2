"""The limits and budgets of the settings, with the counters where the settings want them."""

from __future__ import annotations

from collections.abc import Sequence

from zen_mcp.catalog.catalog import Catalog
from zen_mcp.config.problems import Place
from zen_mcp.config.schema import Config
from zen_mcp.errors import ConfigError
from zen_mcp.middleware.limit_rules import Rule, rules_of
from zen_mcp.middleware.limits import Limits
from zen_mcp.middleware.named import steps_named
from zen_mcp.storage.base import Database
from zen_mcp.storage.counters import CounterStore
from zen_mcp.storage.memory_counters import MemoryCounters
from zen_mcp.storage.redis import Redis
from zen_mcp.storage.redis_counters import RedisCounters
from zen_mcp.storage.sql_counters import SQLCounters

STEP = "limits"
"""The name of the step in both chains."""


def limits_of(
    config: Config,
    catalog: Catalog,
    tools: Sequence[str],
    *,
    database: Database,
    redis: Redis | None,
    memory: MemoryCounters,
) -> Limits:
    """What limits.yaml says, ready to be applied. Nothing is opened before the first call that a limit holds for.

    Args:
        config: the settings.
        catalog: what the names of models mean.
        tools: the tools that there are, offered or not.
        database: where the counters are, where nothing better is set.
        redis: where they are for replicas; None for none.
        memory: the counters of this process; they outlive a change of the settings.

    Raises:
        ConfigError: they name a tool or model that does not exist, or a chain leaves the step out that applies them.
    """
    settings = config.limits
    store: CounterStore = memory
    if settings.counters == "auto" and redis is not None:
        store = RedisCounters(redis)
    elif settings.counters != "memory":
        store = SQLCounters(database)
    limits = Limits(
        rules_of(config, catalog, tools),
        settings=settings,
        store=store,
        local=memory,
        resolve=catalog.resolve,
        parts=settings.rate_limits.replicas * config.server.http.workers,
    )
    _check_chain(config, "tools", config.server.middleware.tools, limits.tool_rules)
    _check_chain(config, "models", config.server.middleware.models, limits.model_rules)
    return limits


def _check_chain(config: Config, which: str, names: Sequence[str] | None, rules: Sequence[Rule]) -> None:
    if rules and STEP not in steps_named(names, {STEP: None}):
        place = config.server_places.get(("middleware", which), Place("server.yaml"))
        text = f"{place}: middleware.{which}: the chain leaves out '{STEP}', but limits.yaml has {rules[0].name}."
        raise ConfigError(text, f"Put '{STEP}' or 'default' into the chain, or take the limits out.")
