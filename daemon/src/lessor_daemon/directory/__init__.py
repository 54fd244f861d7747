"""Organizations, members, licenses and API keys. Knows neither HTTP nor Redis."""
