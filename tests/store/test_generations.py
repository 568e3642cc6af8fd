from __future__ import annotations

import json
from pathlib import Path

import pytest

from spark_pseudolabel.core.selection.plan import Plan
from spark_pseudolabel.errors import OutputBusyError, StoredStateError
from spark_pseudolabel.store.files import LocalFiles
from spark_pseudolabel.store.generations import (
    RECENT,
    Deciding,
    End,
    GenerationFacts,
    Generations,
    Sums,
    final_ref,
    model_ref,
)
from spark_pseudolabel.store.manifest import Ref
from spark_pseudolabel.store.store import RoundStore
from spark_pseudolabel.store.verify import verify_output
from tests.store.builders import frozen, two_rounds

NEW = frozen(("part-1.parquet", 20, 2), rows=3)


def opened(root: Path) -> Generations:
    generations = Generations.read(LocalFiles(), str(root))
    assert generations is not None
    return generations


def facts(generation: int, store: RoundStore) -> GenerationFacts:
    return GenerationFacts(
        generation=generation, run_id=store.run_id, kind="label", rows=3, accepted=2, model="m"
    )


def end_of(
    generations: Generations, store: RoundStore, claim: Ref | None, before: End | None
) -> End:
    own = facts(store.generation, store)
    return End(
        generation=store.generation,
        claim=claim,
        final=final_ref(store) if before is None else before.final,
        deciding=deciding(store) if before is None else before.deciding,
        facts=own,
        recent=before.latest if before else (),
        sums=(before.sums if before else Sums()).plus(own),
        **generations.common(store),
    )


def deciding(store: RoundStore) -> Deciding:
    return Deciding(
        run_id=store.run_id,
        model=1,
        manifest=model_ref(store, 1),
        generation=1,
        name="model-0001",
        plan=Plan({}, ()),
        labeled="0" * 64,
    )


@pytest.fixture
def first(tmp_path: Path) -> Generations:
    """Give an output whose first generation has ended."""
    store = two_rounds(tmp_path)
    generations = opened(tmp_path)
    generations.finish(end_of(generations, store, None, None))
    return generations


def claimed(generations: Generations, run_id: str) -> Generations:
    ended = generations.end(generations.count)
    assert ended is not None
    return generations.begin("label", NEW, ended[1], "0.1.0", run_id)


def test_an_output_without_claims_is_its_own_first_generation(tmp_path: Path) -> None:
    assert Generations.read(LocalFiles(), str(tmp_path)) is None
    store = two_rounds(tmp_path)
    generations = opened(tmp_path)
    assert (generations.count, generations.end(1)) == (1, None)
    assert generations.store(1).run_id == store.run_id


def test_a_claim_freezes_inputs_and_names_the_end_before_it(first: Generations) -> None:
    begun = claimed(first, "second")
    again = opened(Path(first.root))
    assert (begun.count, again.count, again.end(2)) == (2, 2, None)
    claim, _ = again.claim(2)
    ended = again.end(1)
    assert ended is not None
    assert claim.previous == ended[1]
    assert again.run(2).inputs == NEW
    store = again.store(2)
    assert (store.run_id, store.generation, store.models) == ("second", 2, ())


def test_of_two_starts_one_begins_a_generation(first: Generations) -> None:
    claimed(first, "mine")
    with pytest.raises(OutputBusyError):
        claimed(first, "another")
    assert opened(Path(first.root)).claim(2)[0].run_id == "mine"


def test_an_end_tells_the_latest_generations_and_the_sums_of_all(first: Generations) -> None:
    generations = first
    for number in range(2, RECENT + 5):
        ended = generations.end(number - 1)
        assert ended is not None
        generations = claimed(generations, f"run-{number}")
        store = generations.store(number)
        claim = generations.claim(number)[1]
        generations.finish(end_of(generations, store, claim, ended[0]))
    ended = generations.end(RECENT + 4)
    assert ended is not None
    assert [each.generation for each in ended[0].latest] == list(range(5, RECENT + 5))
    assert (ended[0].sums.generations, ended[0].sums.accepted) == (RECENT + 4, 2 * (RECENT + 4))


def test_a_generation_that_ended_twice_has_one_end(first: Generations) -> None:
    with pytest.raises(OutputBusyError):
        first.finish(end_of(first, first.store(1), None, None))


@pytest.mark.parametrize("name", ["generation-0002.json", "end-0001.json"])
def test_an_edited_slot_is_refused(first: Generations, name: str) -> None:
    claimed(first, "second")
    path = Path(first.root) / "_generations" / name
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"generation": 7}))
    generations = opened(Path(first.root))
    read = generations.end if name.startswith("end") else generations.claim
    with pytest.raises(StoredStateError, match=name):
        read(int(name[-6]))


@pytest.mark.parametrize("name", ["generation-0002.json", "end-0001.json"])
def test_a_slot_that_is_not_what_the_next_one_names_is_found(first: Generations, name: str) -> None:
    generations = claimed(first, "second")
    ended, claim = first.end(1), generations.claim(2)[1]
    assert ended is not None
    generations.finish(end_of(generations, generations.store(2), claim, ended[0]))
    path = f"_generations/{name}"
    known = [each.path for each in verify_output(LocalFiles(), first.root).problems]
    assert path not in known
    slot = Path(first.root) / path
    slot.write_bytes(slot.read_bytes().replace(b'"code_version":"0.', b'"code_version":"1.'))
    found = [each.path for each in verify_output(LocalFiles(), first.root).problems]
    assert found == [path, *known]


def test_a_gap_among_claims_is_told(first: Generations) -> None:
    claimed(first, "second")
    folder = Path(first.root) / "_generations"
    (folder / "generation-0002.json").rename(folder / "generation-0003.json")
    with pytest.raises(StoredStateError, match="generation-0002"):
        opened(Path(first.root))


def test_a_claim_that_is_lost_after_the_end_is_told(first: Generations) -> None:
    generations = claimed(first, "second")
    ended = first.end(1)
    assert ended is not None
    claim = generations.claim(2)[1]
    generations.finish(end_of(generations, generations.store(2), claim, ended[0]))
    (Path(first.root) / "_generations" / "generation-0002.json").unlink()
    with pytest.raises(StoredStateError, match=r"generation-0002\.json is missing"):
        opened(Path(first.root))


def test_changed_inputs_of_a_generation_are_told(first: Generations) -> None:
    generations = claimed(first, "second")
    (Path(first.root) / "_runs" / "second" / "inputs.json").write_text("{}")
    with pytest.raises(StoredStateError, match="was changed"):
        generations.store(2)
