"""event_schema.py - holds events against the schema that the relay serves."""

import datetime

import jsonschema

_formats = jsonschema.FormatChecker(formats=())


@_formats.checks("date-time", raises=ValueError)
def _is_moment(text):
    return not isinstance(text, str) or (text.endswith("Z") and datetime.datetime.fromisoformat(text[:-1] + "+00:00"))


def faults(api, events):
    """What does not fit, as sentences."""
    status, _, schema = api.ask("GET", "/v1/events/schema")
    assert status == 200
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema, format_checker=_formats)
    return [f"{event['type']}: {fault.message}" for event in events for fault in validator.iter_errors(event)]
