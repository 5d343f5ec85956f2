"""Which models exist: the shipped list, aliases, LiteLLM's list, allow and deny, keys and prices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from zen_mcp.catalog import Catalog
from zen_mcp.config.load import load_config
from zen_mcp.errors import ConfigError, ModelUnavailable, Refused, UnknownModel

VENDORS = {
    "openai", "anthropic", "gemini", "vertex_ai", "xai", "mistral", "deepseek", "groq", "openrouter", "azure",
    "bedrock", "ollama", "lm_studio", "vllm", "local",
}  # fmt: skip
TYPED = ("opus", "sonnet", "gpt", "flash", "pro", "grok", "mistral", "deepseek", "llama", "local", "ollama", "vertex")


def catalog(tmp_path: Path, *, environ: Mapping[str, str] | None = None, **files: Any) -> Catalog:
    """A catalog of the packaged settings and the given files."""
    folder = tmp_path / "config"
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    everything = {"ZEN_CONFIG_DIR": str(folder), "ZEN_CACHE_DIR": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    return Catalog.from_config(load_config(environ={**everything, **(environ or {})}, working_directory=tmp_path))


def test_the_shipped_list_covers_every_vendor_and_what_people_type(tmp_path: Path) -> None:
    shipped = catalog(tmp_path)
    assert {model.vendor for model in shipped.models} >= VENDORS
    for alias in TYPED:
        assert shipped.resolve(alias).name
    for model in shipped.models:
        assert model.is_local or model.unavailable, "no key is set: only the local ones can be asked"


def test_every_shipped_cloud_model_has_a_window_and_a_price(tmp_path: Path) -> None:
    # At an address of one's own nothing is known; what OpenRouter costs changes with the host that it picks.
    unknowable = {"ollama", "lm_studio", "vllm", "custom", "azure", "openrouter"}
    for model in catalog(tmp_path).models:
        if model.vendor not in unknowable:
            assert model.context_window, model.name
            assert model.price.known, model.name


def test_names_and_aliases_mean_one_model_whatever_the_case(tmp_path: Path) -> None:
    shipped = catalog(tmp_path)
    assert shipped.resolve("OPUS") is shipped.resolve("opus") is shipped.resolve(shipped.resolve("opus").name.upper())


def test_an_alias_claimed_twice_is_an_error_that_names_both(tmp_path: Path) -> None:
    models = {
        "one": {"provider": "custom", "base_url": "http://a/v1", "aliases": ["mine"]},
        "two": {"provider": "custom", "base_url": "http://b/v1", "aliases": ["MINE"]},
    }
    with pytest.raises(ConfigError, match=r"'one'.*'two'|'two'.*'one'"):
        catalog(tmp_path, models={"models": models})


def test_a_missing_key_is_told_by_its_variable_and_a_set_one_makes_the_model_available(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="OPENAI_API_KEY is not set"):
        catalog(tmp_path).require("gpt")
    model = catalog(tmp_path, environ={"OPENAI_API_KEY": "sk-0123456789"}).require("gpt")
    assert model.api_key == "sk-0123456789"
    assert "sk-0123456789" not in repr(model)


def test_any_model_that_litellm_knows_works_without_an_entry(tmp_path: Path) -> None:
    known = catalog(tmp_path, environ={"OPENAI_API_KEY": "sk-0123456789"})
    model = known.require("openai/gpt-4.1")
    assert (model.vendor, model.litellm_model, model.listed) == ("openai", "openai/gpt-4.1", False)
    assert model.context_window
    assert model.price.known
    with pytest.raises(UnknownModel):
        known.resolve("openai/gpt-that-never-was")


def test_a_price_of_ones_own_wins_over_litellms(tmp_path: Path) -> None:
    opus = {"input_cost_per_token": 0.5, "output_cost_per_token": 0.25}
    priced = catalog(tmp_path, models={"models": {"opus": opus}}).resolve("opus")
    assert (priced.price.input_dollars_per_token, priced.price.output_dollars_per_token) == (0.5, 0.25)
    assert priced.context_window, "the rest stays"


def test_several_endpoints_of_ones_own_at_once(tmp_path: Path) -> None:
    models = {
        "here": {"provider": "custom", "base_url": "http://127.0.0.1:1/v1"},
        "there": {"provider": "custom", "base_url": "http://127.0.0.1:2/v1", "api_key": "${THERE_KEY}"},
    }
    both = catalog(tmp_path, models={"models": models}, environ={"THERE_KEY": "k-there"})
    assert both.require("here").base_url == "http://127.0.0.1:1/v1"
    assert both.require("there").api_key == "k-there"
    assert both.secrets() == {"k-there"}


def test_allow_and_deny_lists_hold_for_every_road_to_a_model(tmp_path: Path) -> None:
    keys = {"OPENAI_API_KEY": "sk-0123456789", "OPENROUTER_API_KEY": "sk-0123456789"}
    denied = catalog(tmp_path, environ=keys, server={"deny_models": ["gpt-4.1"]})
    for name in ("openai/gpt-4.1", "openrouter/openai/gpt-4.1"):
        with pytest.raises(Refused, match="is not allowed here"):
            denied.resolve(name)
    allowed = catalog(tmp_path, environ=keys, server={"allow_models": ["local-*"]})
    assert {model.vendor for model in allowed.models} == {"local"}
    with pytest.raises(Refused):
        allowed.resolve("openai/gpt-4.1")


def test_the_default_is_the_first_that_can_be_asked_and_the_panel_one_of_each_vendor(tmp_path: Path) -> None:
    assert catalog(tmp_path).default_model().name == "local-qwen"
    assert [model.name for model in catalog(tmp_path).default_panel()] == ["local-qwen", "local-smol"]
    keys = {"OPENAI_API_KEY": "sk-0123456789", "XAI_API_KEY": "sk-0123456789"}
    keyed = catalog(tmp_path, environ=keys)
    assert keyed.default_model().vendor == "openai"
    assert [model.vendor for model in keyed.default_panel()] == ["openai", "xai"]


def test_a_default_that_does_not_exist_is_an_error_with_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"server\.yaml:1: default_model: There is no model 'opsu'\. Did you mean 'opus'"
    ):
        catalog(tmp_path, server={"default_model": "opsu"})


# --- deployments and groups

TWO_WAYS = {
    "dual": {
        "provider": "openai",
        "litellm_model": "openai/gpt-6-sol",
        "deployments": [
            {"weight": 60},
            {"name": "two", "api_key": "${SECOND_KEY}", "weight": 30, "rpm": 5},
            {"name": "azure", "litellm_model": "azure/mine", "base_url": "https://x.invalid", "api_key": "${AZ}",
             "weight": 10},
        ],
    }
}  # fmt: skip


def test_a_model_may_be_reached_in_several_ways_each_with_its_own_key(tmp_path: Path) -> None:
    keys = {"OPENAI_API_KEY": "sk-first", "SECOND_KEY": "sk-second"}
    model = catalog(tmp_path, environ=keys, models={"models": TWO_WAYS}).require("dual")
    first, second, azure = model.deployments
    assert [one.id for one in model.deployments] == ["dual#1", "dual#two", "dual#azure"]
    assert (first.api_key, second.api_key, second.rpm) == ("sk-first", "sk-second", 5)
    assert (azure.vendor, azure.litellm_model, azure.api_key) == ("azure", "azure/mine", None)
    assert azure.unavailable == "AZ is not set", "which does not keep the others from working"
    assert model.unavailable is None
    assert model.context_window == first.context_window


def test_a_deployment_elsewhere_inherits_neither_address_nor_key(tmp_path: Path) -> None:
    entry = {
        "provider": "custom", "base_url": "https://ours.invalid/v1", "api_key": "${OURS}",
        "deployments": [{"name": "here"}, {"name": "there", "base_url": "https://theirs.invalid/v1"}],
    }  # fmt: skip
    found = catalog(tmp_path, environ={"OURS": "sk-ours-0123"}, models={"models": {"m": entry}})
    here, there = found.require("m").deployments
    assert (here.api_key, there.api_key) == ("sk-ours-0123", None)
    assert "sk-ours-0123" in found.secrets()


def test_groups_are_asked_like_models_and_primary_is_what_auto_means(tmp_path: Path) -> None:
    providers = {
        "providers": {"primary": [{"model": "opus", "weight": 0.7}, {"model": "gpt", "weight": 0.3}]},
        "groups": {"fast": {"members": [{"model": "haiku"}, {"model": "flash"}], "fallbacks": ["local"]}},
    }
    keys = {"OPENAI_API_KEY": "sk-1", "ANTHROPIC_API_KEY": "sk-2"}
    found = catalog(tmp_path, environ=keys, providers=providers)
    primary = found.require("auto")
    assert [(one.model.name, one.weight) for one in primary.members] == [
        (found.resolve("opus").name, 0.7),
        (found.resolve("gpt").name, 0.3),
    ]
    windows = [found.resolve(name).context_window or 0 for name in ("opus", "gpt")]
    assert primary.context_window == min(windows)
    fast = found.require("Fast")
    assert fast.vendor == "anthropic", "the one member that can be asked now says what the group is"
    assert "fast" in {model.name for model in found.models}
    nobody = catalog(tmp_path, providers=providers)
    with pytest.raises(ModelUnavailable, match=r"ANTHROPIC_API_KEY is not set.*GEMINI_API_KEY or GOOGLE_API_KEY"):
        nobody.require("fast")


@pytest.mark.parametrize(
    ("providers", "words"),
    [
        ({"providers": {"primary": [{"model": "opus", "weight": 0.7}, {"model": "gpt", "weight": 0.2}]}},
         "providers.primary: the weights sum to 0.9, not to 1 or 100."),
        ({"providers": {"primary": [{"model": "opus", "weight": 1}, {"model": "gpt"}]}},
         "providers.primary: either all have a 'weight' or none."),
        ({"providers": {"primary": [{"model": "opus", "weight": -1}, {"model": "gpt", "weight": 2}]}},
         "primary[0].weight: '-1' must be 0 or more."),
        ({"providers": {"primary": [{"model": "opus"}, {"model": "Opus"}]}}, "'opus' stands in it twice"),
        ({"providers": {"fallback_chain": ["opuss"]}},
         "providers.fallback_chain[0]: There is no model 'opuss'. Did you mean 'opus'?"),
        ({"providers": {"fallback_chain": ["opus", "claude-opus"]}}, "[1]: 'claude-opus' stands in it twice"),
        ({"providers": {"context_window_fallbacks": {"opus": ["claude-opus"]}}}, "would step in for itself"),
        ({"providers": {"content_policy_fallbacks": {"nobody": ["opus"]}}}, "There is no model 'nobody'."),
        ({"groups": {"a": {"members": []}}}, "groups.a.members: must have an entry."),
        ({"groups": {"a": {"members": [{"model": "a"}]}}}, "'a' is a group; a group's members are models."),
        ({"groups": {"a": {"members": [{"model": "opus"}], "fallbacks": ["a"]}}}, "'a' would step in for itself."),
        ({"groups": {"opus": {"members": [{"model": "gpt"}]}}}, "'opus' is claimed by"),
        ({"groups": {"primary": {"members": [{"model": "gpt"}]}}, "providers": {"primary": [{"model": "opus"}]}},
         "'primary' is the name of providers.primary."),
        ({"providers": {"num_retries": 11}}, "num_retries"),
    ],
)  # fmt: skip
def test_a_wrong_route_is_told_with_file_and_key(tmp_path: Path, providers: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        catalog(tmp_path, providers=providers)
    assert words in str(caught.value)
    assert "providers.yaml" in str(caught.value) or "claimed" in str(caught.value)


def test_a_price_below_zero_is_refused(tmp_path: Path) -> None:
    entry = {"provider": "custom", "base_url": "http://a/v1", "input_cost_per_token": -1}
    with pytest.raises(ConfigError, match=r"models.m.input_cost_per_token: '-1' must be 0 or more"):
        catalog(tmp_path, models={"models": {"m": entry}})
