"""Our own tools: each a folder with a `tool.py` and mostly a `prompt.md`, found at run time, imported by nobody."""
