"""A loopback HTTP server that speaks vendors' APIs (dialects.py), and misbehaves on demand.

Written here because no kept package both speaks the wire format byte by byte (cut streams, HTML, silence) and counts
what it was asked, without Node. Plain asyncio, so that it can break the protocol where a web framework would not.
"""

from tests.upstream.behaviour import Behaviour
from tests.upstream.server import Upstream

__all__ = ["Behaviour", "Upstream"]
