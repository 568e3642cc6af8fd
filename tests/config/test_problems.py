from __future__ import annotations

import pytest

from spark_pseudolabel.config import parse_config
from spark_pseudolabel.errors import ConfigError
from tests.config.files import minimal


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("selection: {threshold: 1.5}", "selection.threshold: must be in [0, 1). Got 1.5."),
        ("selection: {threshold: 1.0}", "selection.threshold: must be in [0, 1). Got 1.0."),
        ("selection: {threshold: .nan}", "selection.threshold: must be in [0, 1). Got nan."),
        (
            "selection: {threshold: '0.9'}",
            "selection.threshold: must be a number in [0, 1). Got '0.9'.",
        ),
        ("validation: {fraction: 1}", "validation.fraction: must be in [0, 1). Got 1."),
        (
            "rounds: {max: -1}",
            "rounds.max: must be a whole number of at least 0 or null. Got -1.",
        ),
        ("rounds: {relabel: 1}", "rounds.relabel: must be true or false. Got 1."),
        (
            "training: {max_rows: true}",
            "training.max_rows: must be a whole number of at least 1 or null. Got true.",
        ),
        (
            "training: {pseudo_weight: 0}",
            "training.pseudo_weight: must be a number above 0 or one of 'confidence', 'softmatch'. "
            "Got 0.",
        ),
        (
            "training: {max_pseudo_weight: 0}",
            "training.max_pseudo_weight: must be a number above 0 or null. Got 0.",
        ),
        (
            "training: {rows: some}",
            "training.rows: must be one of 'accepted', 'all' or a mapping with keys such as top, "
            "threshold. Got 'some'.",
        ),
        ("training: {rows: {top: 2}}", "training.rows.top: must be in (0, 1] or null. Got 2."),
        (
            "training: {rows: {tpo: 0.5}}",
            "training.rows.tpo: unknown key, did you mean 'top'?",
        ),
        (
            "training: {rows: {top: 0.5, threshold: 0.5}}",
            "training.rows: must have exactly one of top, threshold.",
        ),
        (
            "training: {rows: {top: 0.5}}",
            "training.rows: 'all', top and threshold need policy 'auto' with a model, a teacher,",
        ),
        (
            "training: {labels: softt}",
            "training.labels: must be one of 'hard', 'soft'. Got 'softt', did you mean 'soft'?",
        ),
        (
            "selection: {policy: treshold}",
            (
                "selection.policy: must be one of 'auto', 'certified', 'crest', 'flexmatch', "
                "'freematch', 'k_best', 'one_shot', 'percentile', 'quotas', 'threshold', "
                "'top_k_per_class'. Got 'treshold', did you mean 'threshold'?"
            ),
        ),
        (
            "selection: {policy: top_k_per_class}",
            "selection.k: required key is missing: a whole number of at least 1.",
        ),
        (
            "selection: {policy: threshold, k: 3}",
            "selection.k: is no key of policy 'threshold', which has policy, require, "
            "stable_under, threshold.",
        ),
        ("features: {exclude: age}", "features.exclude: must be a list of text. Got 'age'."),
        (
            "features: {include: []}",
            "features.include: must be a list of at least one text or null",
        ),
        (
            "features: {include: [a], exclude: [b]}",
            "features: must have include or exclude, not both. Leave one of them out.",
        ),
        ("teacher: {graph: anchor}", "teacher.graph: must be "),
        ("teacher: {grpah: anchors}", "teacher.grpah: unknown key, did you mean 'graph'?"),
        (
            "teacher: {graph: anchors, anchor: 9}",
            "teacher.anchor: unknown key, did you mean 'anchors'?",
        ),
        (
            "teacher: {graph: anchors, committee: []}",
            "teacher.committee: is no key of teacher 'graph: anchors', which has anchors, "
            "class_mass, graph, neighbors, student.",
        ),
        (
            "teacher: {graph: {graph: anchors, anchor: 9}}",
            "teacher.graph.anchor: unknown key, did you mean 'anchors'?",
        ),
        (
            "teacher: {graph: {graph: anchor}}",
            "teacher.graph.graph: must be one of 'anchors', 'neighbors'. Got 'anchor', did",
        ),
        ("teacher: {graph: {k: 5}}", "teacher.graph.graph: must be one of 'anchors', 'neighbors'."),
        (
            "teacher: {graph: {graph: neighbors, k: 300}}",
            "teacher.graph.k: must be a whole number in [1, 100]. Got 300.",
        ),
        (
            "teacher: {graph: neighbors, around: comittee}",
            "teacher.around: must be 'committee' or null. Got 'comittee'.",
        ),
        (
            "teacher: {graph: neighbors, around: committee, method: poisson}",
            "teacher: method must be left out with around: committee",
        ),
        (
            "teacher: {graph: neighbors, committee: [{estimator: GaussianNB}]}",
            "teacher: committee needs around: committee, which corrects and smooths it.",
        ),
        (
            "teacher: {graph: neighbors, around: committee, committee: [{estimator: Gaussian}]}",
            "teacher.committee.0: unknown estimator 'Gaussian'. Did you mean 'GaussianNB'?",
        ),
        (
            "teacher: {graph: anchors, around: committee}",
            "teacher.around: is no key of teacher 'graph: anchors'",
        ),
        (
            "teacher: {graph: {graph: anchors, anchors: 2}}",
            "teacher.graph: anchors must be at least neighbors, 3. Got 2.",
        ),
        (
            "teacher: {anchors: 9}",
            "teacher.anchors: is no key of teacher 'committee', which has committee, graph, "
            "student.",
        ),
        (
            "teacher: {graph: anchors, anchors: 2}",
            "teacher: anchors must be at least neighbors, 3. Got 2.",
        ),
        (
            "selection: {policy: auto}\nrounds: {max: 3}",
            "rounds.max: must be 1 with policies 'auto' and 'certified': model 1 labels the pool, "
            "once. Got 3. Leave it out.",
        ),
        (
            "teacher: {}\nrounds: {max: 3}",
            "rounds.max: must be 1 with a teacher: model 1 labels the pool, once. Got 3. Leave it "
            "out.",
        ),
        (
            "selection: {policy: certified}\nrounds: {relabel: true}",
            "rounds.relabel: must be false with policies 'auto' and 'certified': there is one "
            "round. Leave it out.",
        ),
        (
            "selection: {policy: certified, scores: held_out}\nvalidation: {fraction: 0}",
            "selection.scores: 'held_out' tests on validation rows, and there are none. Give "
            "validation a fraction or a table, or say out_of_fold.",
        ),
        (
            "validation: {group: g}\nlabeled: {path: a, label: y, group: h}",
            "validation.group: must be the column that labeled.group names, 'h', or be left out. "
            "Got 'g'.",
        ),
        (
            "teacher: {}\nmodel: {student: {estimator: GaussianNB}}",
            "model.student: must be left out with a teacher: model is the student. Name the "
            "student there.",
        ),
        (
            "training: {rows: all}",
            "training.rows: 'all', top and threshold need policy 'auto' with a model, a teacher, "
            "or policy 'certified' with model.student: a student that learns from another model's "
            "predictions for every row.",
        ),
        (
            "selection: {policy: quotas}\nrounds: {relabel: false}",
            "rounds.relabel: must be true with policy 'quotas', which decides every row anew. "
            "Leave it out.",
        ),
        ("id: income", "id: must be another column than labeled.label. Both are 'income'."),
        ("id: yes", "id: must be text or null. Got true."),
        ("test: {}", "test: must name its rows by exactly one of path, table, query. Got none"),
        (
            "test: {path: a, table: b}",
            "test: must name its rows by exactly one of path, table, query. Got path and table.",
        ),
        (
            "validation: {path: a, fraction: 0.1}",
            "validation: must be exactly one of fraction, path, table, query. Got path and frac",
        ),
        (
            "validation: {path: a, group: g}",
            "validation: group splits the labeled rows, so it needs fraction; leave group out.",
        ),
        (
            "{unlabeled: {path: b, drop_labeled: true}, id: null}",
            "unlabeled.drop_labeled: needs id",
        ),
        ("{rounds: {max: null, relabel: true}}", "rounds.max: must be a number"),
        (
            "{selection: {policy: percentile}, rounds: {relabel: false}}",
            "rounds.relabel: must be true with policy 'percentile'",
        ),
        (
            "{model: {estimator: KNeighborsClassifier}, training: {labels: soft}}",
            "training.labels: 'soft' needs an estimator that takes weights",
        ),
        (
            "{model: {student: {estimator: KNeighborsClassifier}}, "
            "training: {pseudo_weight: confidence}}",
            "training.pseudo_weight: must be 1.0 with KNeighborsClassifier",
        ),
        (
            "{model: {estimator: KNeighborsClassifier}, training: {max_pseudo_weight: 2}}",
            "training.max_pseudo_weight: must be null with KNeighborsClassifier",
        ),
        ("spark: {conf: {spark.x: [1]}}", "spark.conf.spark.x: must be text. Got [1]."),
        ("validation:", "validation: must be a mapping with keys such as path, table"),
    ],
)
def test_a_wrong_value_is_told_in_plain_words(section: str, message: str) -> None:
    import yaml

    with pytest.raises(ConfigError) as caught:
        parse_config(minimal(**yaml.safe_load(section)))
    assert [p.message for p in caught.value.problems] == [caught.value.problems[0].message]
    assert str(caught.value).startswith(message)
