"""The route of a request: which deployment is asked, how often, for how long, and who steps in."""
