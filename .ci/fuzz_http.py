"""Hooks of schemathesis; used with `fuzz-http.toml`."""

import schemathesis


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Replaces the `default` response by the statuses that any request may get, so that others fail."""
    for item in raw_schema["paths"].values():
        for operation in item.values():
            default = operation["responses"].pop("default")
            for status in ["405", "408", "429", "5XX"]:
                operation["responses"].setdefault(status, default)
