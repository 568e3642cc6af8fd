"""The version, in the one place that packaging reads, too."""

VERSION = "0.2.0"
