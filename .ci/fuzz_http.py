"""Loaded by schemathesis beside `fuzz-http.toml`."""

import schemathesis


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Lets the default stand for nothing but what any request may be answered with."""
    for item in raw_schema["paths"].values():
        for operation in item.values():
            default = operation["responses"].pop("default")
            for status in ["405", "408", "429", "5XX"]:
                operation["responses"].setdefault(status, default)
