"""Which model of a finished run labels rows that come later, and by which plan."""

from __future__ import annotations

from spark_pseudolabel.core.selection.exact import plan_of_parameters
from spark_pseudolabel.core.selection.plan import Cut, Plan
from spark_pseudolabel.core.selection.policies import read_policy
from spark_pseudolabel.core.selection.policies.certified import Certified
from spark_pseudolabel.store.generations import Deciding, model_ref
from spark_pseudolabel.store.layout import model_name
from spark_pseudolabel.store.store import RoundStore


def deciding_of(store: RoundStore) -> Deciding | None:
    """Return what labels new rows as a finished run has labeled its own.

    Returns
    -------
    Deciding or None
        None where its rule takes shares of a pool, which say nothing of other rows, and where it
        has no round to take cuts from.
    """
    chosen = _model_and_plan(store)
    if chosen is None or store.models[chosen[0] - 1].artifact.transductive:
        return None
    number, plan = chosen
    shift = store.models[0].training.shift
    own = model_name(number)
    return Deciding(
        run_id=store.run_id,
        model=number,
        manifest=model_ref(store, number),
        generation=store.generation,
        name=own if store.generation == 1 else f"generation-{store.generation:04d}/{own}",
        plan=plan,
        labeled=store.inputs.labeled.sha256,
        shifted=shift is not None and shift.shifted,
    )


def certified_by_asking(store: RoundStore) -> tuple[int, Plan] | None:
    """Return the model whose scores answers have certified last, and its loosest cut.

    Returns
    -------
    tuple or None
        The model's number and the plan; None where no answers have certified anything.
    """
    steps = [
        (review.published.round, review.published.cut)
        for review in store.reviews
        if review.published is not None
    ]
    cuts = [(number, cut) for number, cut in steps if number is not None and cut is not None]
    if not cuts:
        return None
    latest = cuts[-1][0]
    cut = Cut(min(cut for number, cut in cuts if number == latest), "all")
    n_classes = len(store.models[latest - 1].classes)
    return latest, Plan({"policy": "certified"}, (cut,) * n_classes)


def _model_and_plan(store: RoundStore) -> tuple[int, Plan] | None:
    final = store.final
    assert final is not None
    if (asked := certified_by_asking(store)) is not None:
        return asked
    policy, used = read_policy(store.settings.selection), store.rounds[: final.best_round or 0]
    if policy.new_rows == "never":
        return None
    # Cuts of a certificate are about the scores of the model that it was given for, and only
    # members can agree.
    of_round = isinstance(policy, Certified) or policy.require is not None
    number = used[-1].number if of_round and used else final.final_model
    if policy.new_rows == "by_parameters":
        n_classes = len(store.models[number - 1].classes)
        return number, plan_of_parameters(policy, n_classes)
    return (number, used[-1].plan) if used else None
