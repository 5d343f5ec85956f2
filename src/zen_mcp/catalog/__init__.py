"""Which models exist: names, aliases, capabilities, prices."""

from zen_mcp.catalog.catalog import Catalog
from zen_mcp.catalog.model import Capabilities, Model, Price

__all__ = ["Capabilities", "Catalog", "Model", "Price"]
