"""Alerts: four things worth waking somebody for, watched by the server or by Prometheus."""
