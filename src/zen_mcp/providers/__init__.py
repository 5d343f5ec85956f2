"""How models are reached: LiteLLM for every vendor, child processes for the local panel."""
