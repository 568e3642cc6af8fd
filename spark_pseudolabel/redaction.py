"""Secrets: known by the key they stand under, or by their place in a URL; never written down."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "(secret)"

# Keys whose values are never written down nor shown; also Spark's pattern for its own settings,
# whose default leaves out the account keys of object stores.
SECRET = re.compile(
    "(?i)secret|password|passwd|passphrase|pwd|token|credential|bearer|signature"
    "|(?:access|account|private|encryption|shared|api)[._-]?key|connection[._-]?string"
    "|[._-]sas(?:[._-]|$)"
)

# In s3a://key:secret@bucket; not in abfss://container@account, which hides nothing.
_USERINFO = re.compile(r"(?<=//)[^/@:\s]*:[^/@\s]+(?=@)")
# In a URL's parameters and in connection strings: ?sig=..., ;AccountKey=... A blank before or
# after could be a query's `where token = 5`, which makes a run another run.
_KEY = rf"[\w.-]*(?:{SECRET.pattern.removeprefix('(?i)')})[\w.-]*|sig|sas"
_PARAMETER = re.compile(rf"""(?i)((?:^|[?&;'"])(?:{_KEY})=)[^&;\s'"]+""")


def redacted(value: Any) -> Any:
    """Return a JSON value without the secrets in its texts, such as URLs.

    Examples
    --------
    >>> redacted(["jdbc:h2://db?user=a&password=x", "AccountName=a;AccountKey=x"])
    ['jdbc:h2://db?user=a&password=(secret)', 'AccountName=a;AccountKey=(secret)']
    >>> redacted("s3a://key:x@bucket/pool")
    's3a://(secret)@bucket/pool'
    """
    if isinstance(value, str):
        return _PARAMETER.sub(rf"\1{HIDDEN}", _USERINFO.sub(HIDDEN, value))
    if isinstance(value, dict):
        return {key: redacted(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted(inner) for inner in value]
    return value


def redacted_text(text: str) -> str:
    """Return a message without secrets; words that only look like a parameter may go, too."""
    return " ".join(redacted(word) for word in text.split(" "))
