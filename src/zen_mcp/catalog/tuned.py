"""Models that were fine-tuned from here, made of those they were trained from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zen_mcp.catalog.model import Model, Price
from zen_mcp.config.tuned import TunedModel


def with_tuned(models: Sequence[Model], tuned: Sequence[TunedModel]) -> list[Model]:
    """The models, and after each the ones made of it; a name that models.yaml has by now stays that entry's.

    A tuned model has its base's address, key and abilities. Its price is its own, and unknown.
    """
    taken = {word.lower() for model in models for word in (model.name, *model.aliases)}
    by_name = {model.name: model for model in models}
    found = list(models)
    for one in tuned:
        base = by_name.get(one.base)
        if base is None or one.name.lower() in taken:
            continue
        way = next((way for way in base.deployments if way.deployment == one.deployment), base)
        own = replace(
            way,
            name=one.name,
            litellm_model=one.litellm_model,
            aliases=(),
            description=f"{base.name}, fine-tuned",
            price=Price(),
            listed=True,
            deployment="",
            weight=None,
            batch=False,
        )
        taken.add(one.name.lower())
        found.append(own)
    return found
