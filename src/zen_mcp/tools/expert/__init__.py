"""Tools that ask an expert: in one call or step by step, one model or a panel."""
