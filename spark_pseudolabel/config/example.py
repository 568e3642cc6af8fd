"""The configuration that ``init`` writes."""

EXAMPLE = """\
# spark_pseudolabel: a few labels and a large table in, a large labeled table and a model out.
#   spark-pseudolabel plan FILE    looks at the tables, writes nothing
#   spark-pseudolabel run FILE     runs, or continues where it was stopped
# The tables named here are those that "spark-pseudolabel demo" writes; put yours in their place.
# Paths are relative to the directory the command is started in. Every key can be overridden:
#   spark-pseudolabel run FILE --set selection.precision=0.9

labeled:                       # rows with given labels
  path: pseudolabel-demo/data/labeled.parquet
  # format: parquet            # or csv, json, orc, or any that this Spark reads; else by the name
  # options: {sep: ";"}        # passed to Spark's reader
  # version: 12                # with format: delta or iceberg: not the latest, but this one
  label: digit                 # the column that holds the label
  # drawn: random              # or per_class: how the rows were chosen

unlabeled:                     # the pool; or {table: db.pool}, or {query: "select ..."}
  path: pseudolabel-demo/data/pool
  # from: labeled              # instead: rows of `labeled` with a null label are the pool
  # drop_labeled: true         # take rows out whose id is also in `labeled`
  # prior: {"0": 0.9, "1": 0.1}   # shares of the labels, if known: scores are corrected to them

test:                          # true labels, scored once at the end, for the report only
  path: pseudolabel-demo/data/test.parquet

id: row_id                     # a column that is unique in each table

# features: {exclude: [name]}  # or {include: [...]}; default: all shared columns but id, label

# selection:                   # which rows get a label; what is said here is the default:
#   policy: auto               # a committee of four kinds of models labels the pool, once
#   precision: best            # so many of the labels that are handed out are right: the highest of
#                              # 0.99, 0.975, 0.95, 0.9, 0.85, 0.8 that can be shown; or a number
#   min_coverage: 0.2          # for this share of the pool; none is handed out where none can
#   certainty: 0.95            # with this probability

# model:                       # one model that learns from the committee and is deployed instead
#   estimator: HistGradientBoostingClassifier
#   params: {max_iter: 200}    # the estimator's own

# teacher: {committee: [...]}  # other estimators than the four

# calibration: temperature     # or sigmoid, isotonic: confidences that are shares of right labels

# Self-training over rounds instead:
# model: {estimator: RandomForestClassifier, params: {n_estimators: 300}}
#   # student: {estimator: ...}  within it: another one that learns from the accepted rows
# selection:
#   policy: threshold          # one_shot | k_best | top_k_per_class | percentile | ...
#   threshold: 0.9             # accepted where the confidence is above it
# rounds: {max: 10}            # null: no limit; 0: the seed model only
# validation:                  # rows no model is trained on, to see when a round does harm
#   fraction: 0.2              # 0: none; or a table of its own: {path: ...}
#   group: customer_id         # keeps rows of one group on one side, as labeled.group
# training:
#   max_rows: 200000           # at most so many rows per fit
#   on: cluster                # where XGBClassifier or LogisticRegression learn from all rows
#   labels: hard               # or soft: a row enters once per class, weighted
#   pseudo_weight: 1.0         # of an accepted row; or confidence, softmatch
#   max_pseudo_weight: 1       # together they weigh at most so many times what labeled rows do

# shift: {action: withhold}    # or warn, stop: what follows where the pool is unlike labeled rows

output:
  path: out/digits
  features: false              # true: the feature columns stand beside the labels

random_state: 0

# spark: {master: "local[*]", conf: {spark.driver.memory: 4g}}
"""
