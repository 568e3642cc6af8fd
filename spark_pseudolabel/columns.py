"""Column names that more than one module has to agree on."""

from __future__ import annotations

from typing import Final

# Published tables (`OUT/labels`, `OUT/training`, `OUT/invalid`, `OUT/undecided`).
LABEL: Final = "label"
CONFIDENCE: Final = "confidence"
RAW_CONFIDENCE: Final = "raw_confidence"
ROUND: Final = "round"
MODEL: Final = "model"
WEIGHT: Final = "weight"
SOURCE: Final = "source"
REASON: Final = "reason"
PROBABILITIES: Final = "probabilities"
LABELED: Final = "labeled"
PSEUDO: Final = "pseudo"

# Of `OUT/suspects`, which holds rows of the labeled table.
GIVEN: Final = "given"
SUGGESTED: Final = "suggested"
P_GIVEN: Final = "p_given"
P_SUGGESTED: Final = "p_suggested"
OF_SUSPECTS: Final = (GIVEN, SUGGESTED, P_GIVEN, P_SUGGESTED)

# Of `OUT/labels` where labels are numbers: the bounds that the true one is between.
LOWER: Final = "lower"
UPPER: Final = "upper"
OF_NUMBERS: Final = (LOWER, UPPER)

# Row identity where the user has no id: only for Parquet given by path.
FILE: Final = "file"
ROW_INDEX: Final = "row_index"

# Scored candidates and training rows, inside `_attempts` and in memory only: prefixed, since they
# stand beside the user's own columns. The code is the label's index in the model's classes.
CODE: Final = "spl_code"
# Of labels that are numbers: the number, and the bounds that the true one is between.
VALUE: Final = "spl_value"
LOWEST: Final = "spl_lower"
HIGHEST: Final = "spl_upper"
HASH: Final = "spl_hash"
SCORE: Final = "spl_confidence"
RAW_SCORE: Final = "spl_raw_confidence"
CLASS_SCORES: Final = "spl_probabilities"
INVALID: Final = "spl_reason"
IN_ROUND: Final = "spl_round"
FOLD: Final = "spl_fold"
# A number that follows from a row's key: what a model that knows no features gets.
NODE: Final = "spl_node"
# Why a row of text could not be read as its header says; null where it could.
UNREADABLE: Final = "spl_unreadable"
# The numeric features of a row, on their way to the workers.
PACKED: Final = "spl_numbers"
# A hash of a row's key and features as a scan saw them: the next one must see the same.
FINGERPRINT: Final = "spl_fingerprint"
# Whether each rule votes, and the numbers of those that have.
VOTES: Final = "spl_votes"
VOTED: Final = "spl_voted"
# What a line of a training set weighs.
WEIGHED: Final = "spl_weight"
# A row's place in its part of the pool (core.splits).
POSITION: Final = "spl_row"

# Whether a value of a row of text holds a line break.
BREAKS: Final = "spl_breaks"
RESERVED: Final = "spl_"
"""What the names of such columns begin with."""

PUBLISHED: Final = (
    LABEL,
    CONFIDENCE,
    RAW_CONFIDENCE,
    ROUND,
    MODEL,
    WEIGHT,
    PROBABILITIES,
    SOURCE,
    REASON,
)
