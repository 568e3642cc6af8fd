from __future__ import annotations

from spark_pseudolabel.report.document import GenerationSums, Notice
from spark_pseudolabel.report.generations import MOST, lines, notices, sums
from tests.report.builders import make_generation as generation


def test_a_run_that_is_none_of_several_has_no_table() -> None:
    assert lines([]) is None
    assert sums(None) == ""


def test_generations_are_told_with_what_is_unusual() -> None:
    table = lines(
        [
            generation(1),
            generation(2, auc=0.52, overlap=7),
            generation(3, auc=0.93, outcome="drift", accepted=0),
            generation(4, auc=0.93, refit=True, model="generation-0004/model-0001"),
        ]
    )
    assert table is not None
    assert table.body == [
        ["1", "1,000", "0", "900", "-", "-", "model-0002"],
        ["2", "1,000", "7", "900", "-", "0.52", "model-0002"],
        ["3 drift", "1,000", "0", "0", "-", "0.93 !", "model-0002"],
        ["4 refit", "1,000", "0", "900", "-", "0.93 !", "generation-0004/model-0001"],
    ]


def test_of_many_generations_the_latest_are_shown_and_all_are_summed() -> None:
    table = lines([generation(number) for number in range(1, 31)])
    assert table is not None
    assert [line[0] for line in table.body] == [str(n) for n in range(31 - MOST, 31)]
    told = sums(GenerationSums(generations=1000, rows=1_000_000, accepted=900_000))
    assert told == "1,000 generations: 1,000,000 rows, 900,000 accepted"


def test_what_a_generation_has_found_is_told_with_its_number() -> None:
    found = Notice.about("files_gone", "1 file of unlabeled is gone: a.parquet.")
    told = notices([generation(1), generation(2, notices=[found])])
    assert told == ["Generation 2: 1 file of unlabeled is gone: a.parquet."]
